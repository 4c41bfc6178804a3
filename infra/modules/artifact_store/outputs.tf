output "buckets" {
  description = "Names of the buckets by purpose, usable once encryption, policy and access block are in place."
  value       = { for purpose, bucket in aws_s3_bucket.this : purpose => bucket.bucket }
  depends_on = [
    aws_s3_bucket_object_lock_configuration.this,
    aws_s3_bucket_policy.this,
    aws_s3_bucket_server_side_encryption_configuration.this,
  ]
}

output "bucket_arns" {
  description = "ARNs of the buckets by purpose."
  value       = { for purpose, name in local._names : purpose => "arn:${data.aws_partition.current.partition}:s3:::${name}" }
  depends_on  = [aws_s3_bucket.this]
}

output "key_arn" {
  description = "ARN of the key that encrypts them."
  value       = module.key.arn
}
