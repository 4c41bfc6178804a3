mock_provider "aws" {
  source = "../../mocks/aws"
}

variables {
  name                 = "adloom-dev"
  audit_days           = 7
  expire_after_days    = { "generations/" = 90 }
  rollback_window_days = 30
  superseded_days      = 90
}

run "buckets_that_nobody_outside_can_read" {
  command = plan

  assert {
    condition     = sort([for each in aws_s3_bucket.this : each.bucket]) == tolist(["adloom-dev-111122223333-artifacts", "adloom-dev-111122223333-mlflow", "adloom-dev-111122223333-requests"])
    error_message = "a bucket is named after environment, account and purpose"
  }

  assert {
    condition     = alltrue([for each in concat(values(aws_s3_bucket_public_access_block.this), [aws_s3_bucket_public_access_block.access_logs]) : each.block_public_acls && each.block_public_policy && each.ignore_public_acls && each.restrict_public_buckets])
    error_message = "no bucket may be made public"
  }

  assert {
    condition     = alltrue([for each in aws_s3_bucket_versioning.this : each.versioning_configuration[0].status == "Enabled"])
    error_message = "every bucket must keep older versions"
  }

  assert {
    condition     = !anytrue([for each in aws_s3_bucket.this : each.force_destroy])
    error_message = "a bucket that holds objects must not be deleted by the way"
  }

  assert {
    condition     = join(" ", keys(aws_s3_bucket_object_lock_configuration.this)) == "requests" && aws_s3_bucket_object_lock_configuration.this["requests"].rule[0].default_retention[0].days == 7
    error_message = "logged requests, and nothing else, are locked"
  }
}

run "a_bucket_refuses_plain_http_and_other_keys" {
  command = apply

  assert {
    condition     = alltrue([for each in aws_s3_bucket_policy.this : [for s in jsondecode(each.policy).Statement : "${s.Sid} ${s.Effect}"] == ["TlsOnly Deny", "RecentTlsOnly Deny", "NoOtherKey Deny"]])
    error_message = "the policy refuses plain HTTP, old TLS and other keys"
  }

  assert {
    condition     = alltrue([for each in aws_s3_bucket_server_side_encryption_configuration.this : one(each.rule).apply_server_side_encryption_by_default[0].sse_algorithm == "aws:kms"])
    error_message = "every object is encrypted with the store's key"
  }
}

run "a_teardown_may_empty_buckets" {
  command = plan

  variables {
    teardown = true
  }

  assert {
    condition     = alltrue([for each in aws_s3_bucket.this : each.force_destroy])
    error_message = "a teardown must not stop at a bucket that holds objects"
  }
}
