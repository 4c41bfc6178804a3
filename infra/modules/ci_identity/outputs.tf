output "policies" {
  description = "The policies as written, for the table of who may do what."
  value       = { for name, policy in aws_iam_role_policy.this : name => policy.policy }
}

output "role_arns" {
  description = "ARNs of the roles plan and apply, for the variables of the workflow."
  value       = { for name, role in aws_iam_role.this : name => role.arn }
  depends_on  = [aws_iam_role_policy.this]
}
