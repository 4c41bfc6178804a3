module "key" {
  source = "../encryption_key"

  name        = "${var.name}-secrets"
  description = "Secrets of ${var.name} that External Secrets reads"
}

# Entries without a value: a value that Terraform knows stands in its state for whoever reads that.
resource "aws_secretsmanager_secret" "this" {
  #checkov:skip=CKV2_AWS_57:values are set by people; what can rotate by itself, the database, is kept by RDS

  for_each = var.entries

  name                    = "${var.name}/${each.key}"
  description             = each.value
  kms_key_id              = module.key.arn
  recovery_window_in_days = var.teardown ? 0 : var.recovery_days
}

resource "aws_secretsmanager_secret_policy" "this" {
  for_each = aws_secretsmanager_secret.this

  secret_arn          = each.value.arn
  block_public_policy = true

  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Sid       = "TlsOnly"
      Effect    = "Deny"
      Principal = { AWS = "*" }
      Action    = "secretsmanager:*"
      Resource  = "*"
      Condition = { Bool = { "aws:SecureTransport" = "false" } }
    }]
  })
}
