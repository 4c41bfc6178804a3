output "arn" {
  description = "ARN of the key, usable once its policy and alias are in place."
  value       = aws_kms_key.this.arn
  depends_on  = [aws_kms_alias.this]
}
