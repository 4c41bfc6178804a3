output "role_arn" {
  description = "ARN of the role, usable once the cluster knows whose it is."
  value       = aws_iam_role.this.arn
  depends_on  = [aws_eks_pod_identity_association.this]
}

output "policy" {
  description = "The policy as written, for the table of who may do what; null where AWS maintains it."
  value       = try(aws_iam_role_policy.this["access"].policy, null)
}
