data "aws_caller_identity" "current" {}
data "aws_partition" "current" {}

locals {
  # Globally unique without a random part: no other account can have this one's number.
  _prefix = "${var.name}-${data.aws_caller_identity.current.account_id}"

  # What a bucket is for, and how long what nobody needs any more is kept.
  _buckets = {
    artifacts = { lock_days = 0, expire_prefixes = {} }                                 # bundles, datasets
    mlflow    = { lock_days = 0, expire_prefixes = {} }                                 # runs and models of the registry
    requests  = { lock_days = var.audit_days, expire_prefixes = var.expire_after_days } # what ADLOOM_OBJECTS_URL names
  }
  _names = { for purpose in keys(local._buckets) : purpose => "${local._prefix}-${purpose}" }
}

module "key" {
  source = "../encryption_key"

  name        = "${var.name}-artifacts"
  description = "Bundles, datasets, request logs and MLflow artifacts of ${var.name}"
}

resource "aws_s3_bucket" "this" {
  #checkov:skip=CKV2_AWS_62:pipelines are scheduled, nothing acts on a new object
  #checkov:skip=CKV_AWS_144:one region by decision; bundles can be made again from Git and the registry, see README.md

  for_each = local._buckets

  bucket              = local._names[each.key]
  force_destroy       = var.teardown
  object_lock_enabled = each.value.lock_days > 0
}

resource "aws_s3_bucket_versioning" "this" {
  for_each = aws_s3_bucket.this

  bucket = each.value.id

  versioning_configuration {
    status = "Enabled"
  }
}

resource "aws_s3_bucket_server_side_encryption_configuration" "this" {
  for_each = aws_s3_bucket.this

  bucket = each.value.id

  rule {
    bucket_key_enabled = true # one call to KMS for many objects

    apply_server_side_encryption_by_default {
      sse_algorithm     = "aws:kms"
      kms_master_key_id = module.key.arn
    }
  }
}

resource "aws_s3_bucket_public_access_block" "this" {
  for_each = aws_s3_bucket.this

  bucket                  = each.value.id
  block_public_acls       = true
  block_public_policy     = true
  ignore_public_acls      = true
  restrict_public_buckets = true
}

resource "aws_s3_bucket_ownership_controls" "this" {
  for_each = aws_s3_bucket.this

  bucket = each.value.id

  rule {
    object_ownership = "BucketOwnerEnforced"
  }
}

# Governance, not compliance: a deletion that the law demands must stay possible, with a permission nobody has by day.
resource "aws_s3_bucket_object_lock_configuration" "this" {
  for_each = { for purpose, bucket in local._buckets : purpose => bucket.lock_days if bucket.lock_days > 0 }

  bucket = aws_s3_bucket.this[each.key].id

  rule {
    default_retention {
      mode = "GOVERNANCE"
      days = each.value
    }
  }

  depends_on = [aws_s3_bucket_versioning.this]
}
