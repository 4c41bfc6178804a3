output "endpoint" {
  description = "Host and port."
  value       = aws_db_instance.this.endpoint
  depends_on  = [aws_vpc_security_group_ingress_rule.this]
}

output "key_arn" {
  description = "ARN of the key that encrypts it and its master password."
  value       = module.key.arn
}

output "master_secret_arn" {
  description = "Secret with the name and password of the owner, kept by RDS."
  value       = aws_db_instance.this.master_user_secret[0].secret_arn
}

output "name" {
  description = "Name of the database on the instance."
  value       = aws_db_instance.this.db_name
}

output "resource_id" {
  description = "Identifier that IAM authentication to the database names."
  value       = aws_db_instance.this.resource_id
}
