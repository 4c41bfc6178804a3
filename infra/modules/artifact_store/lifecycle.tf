resource "aws_s3_bucket_lifecycle_configuration" "this" {
  for_each = local._buckets

  bucket = aws_s3_bucket.this[each.key].id

  rule {
    id     = "superseded-versions"
    status = "Enabled"

    filter {}

    noncurrent_version_expiration {
      noncurrent_days = var.superseded_days
    }

    abort_incomplete_multipart_upload {
      days_after_initiation = 7
    }
  }

  dynamic "rule" {
    for_each = each.value.expire_prefixes

    content {
      id     = "expire-${replace(rule.key, "/", "")}"
      status = "Enabled"

      filter {
        prefix = rule.key
      }

      expiration {
        days = rule.value
      }
    }
  }

  depends_on = [aws_s3_bucket_versioning.this]
}
