data "aws_caller_identity" "current" {}
data "aws_partition" "current" {}
data "aws_region" "current" {}

locals {
  _account   = data.aws_caller_identity.current.account_id
  _partition = data.aws_partition.current.partition
  _region    = data.aws_region.current.name
  _uses      = ["kms:Decrypt", "kms:DescribeKey", "kms:Encrypt", "kms:GenerateDataKey*", "kms:ReEncrypt*"]

  # Without this statement nobody, not even the account's administrator, could ever change or delete the key.
  _owner = [{
    Sid       = "AccountAdministersThroughIam"
    Effect    = "Allow"
    Principal = { AWS = "arn:${local._partition}:iam::${local._account}:root" }
    Action    = ["kms:*"]
    Resource  = ["*"]
  }]

  # CloudWatch Logs names the log group in the encryption context and is bound by that, not by aws:SourceAccount.
  _logs = [for each in(var.logs ? ["logs"] : []) : {
    Sid       = "LogGroupsOfThisAccount"
    Effect    = "Allow"
    Principal = { Service = "logs.${local._region}.amazonaws.com" }
    Action    = local._uses
    Resource  = ["*"]
    Condition = {
      ArnLike = {
        "kms:EncryptionContext:aws:logs:arn" = "arn:${local._partition}:logs:${local._region}:${local._account}:log-group:*"
      }
    }
  }]

  _services = [for service in sort(var.services) : {
    Sid       = "Service${join("", [for part in split("-", split(".", service)[0]) : title(part)])}"
    Effect    = "Allow"
    Principal = { Service = service }
    Action    = local._uses
    Resource  = ["*"]
    Condition = { StringEquals = { "aws:SourceAccount" = local._account } }
  }]
}

resource "aws_kms_key" "this" {
  description             = var.description
  enable_key_rotation     = true
  deletion_window_in_days = var.deletion_window_days

  # Encoded one by one: the statements differ in shape, and a list in Terraform has one.
  policy = "{\"Version\":\"2012-10-17\",\"Statement\":[${join(",", concat(
    [for each in local._owner : jsonencode(each)],
    [for each in local._logs : jsonencode(each)],
    [for each in local._services : jsonencode(each)],
  ))}]}"
}

resource "aws_kms_alias" "this" {
  name          = "alias/${var.name}"
  target_key_id = aws_kms_key.this.key_id
}
