output "arns" {
  description = "ARNs of the secrets by name, usable once their policies are in place."
  value       = { for name, secret in aws_secretsmanager_secret.this : name => secret.arn }
  depends_on  = [aws_secretsmanager_secret_policy.this]
}

output "key_arn" {
  description = "ARN of the key that encrypts them."
  value       = module.key.arn
}
