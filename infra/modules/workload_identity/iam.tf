locals {
  _s3      = "s3.${data.aws_region.current.name}.amazonaws.com"
  _manager = "secretsmanager.${data.aws_region.current.name}.amazonaws.com"

  # S3 uses its key on behalf of whoever reads or writes: without it, access to an object is worth nothing. To write is
  # to make a data key, and a large upload is also read back by its parts.
  _key_actions = length(var.access.write_objects) > 0 ? ["kms:Decrypt", "kms:GenerateDataKey"] : ["kms:Decrypt"]
  _put_actions = ["s3:AbortMultipartUpload", "s3:ListMultipartUploadParts", "s3:PutObject"]
  _ask_actions = ["aps:GetLabels", "aps:GetMetricMetadata", "aps:GetSeries", "aps:QueryMetrics"]
  _secret_gets = ["secretsmanager:DescribeSecret", "secretsmanager:GetSecretValue"]

  # One statement for each kind of access. A key may be used through one service, never by itself.
  _kinds = [
    { sid = "ListBuckets", actions = ["s3:GetBucketLocation", "s3:ListBucket"], on = var.access.list_buckets, via = [] },
    { sid = "ReadObjects", actions = ["s3:GetObject"], on = var.access.read_objects, via = [] },
    { sid = "WriteObjects", actions = local._put_actions, on = var.access.write_objects, via = [] },
    { sid = "DeleteObjects", actions = ["s3:DeleteObject"], on = var.access.delete_objects, via = [] },
    { sid = "KeysOfObjects", actions = local._key_actions, on = var.access.object_keys, via = [local._s3] },
    { sid = "ReadSecrets", actions = local._secret_gets, on = var.access.read_secrets, via = [] },
    { sid = "KeysOfSecrets", actions = ["kms:Decrypt"], on = var.access.secret_keys, via = [local._manager] },
    { sid = "WriteMetrics", actions = ["aps:RemoteWrite"], on = var.access.write_metrics, via = [] },
    { sid = "QueryMetrics", actions = local._ask_actions, on = var.access.query_metrics, via = [] },
  ]

  # Encoded one by one: with and without a condition they differ in shape, and a list in Terraform has one.
  _statements = concat([for kind in local._kinds : jsonencode(merge(
    { Sid = kind.sid, Effect = "Allow", Action = kind.actions, Resource = kind.on },
    [for service in kind.via : { Condition = { StringEquals = { "kms:ViaService" = service } } }]...
  )) if length(kind.on) > 0], var.statements)
}

resource "aws_iam_role_policy" "this" {
  for_each = toset(length(local._statements) > 0 ? ["access"] : [])

  name   = each.key
  role   = aws_iam_role.this.id
  policy = "{\"Version\":\"2012-10-17\",\"Statement\":[${join(",", local._statements)}]}"
}

# For what AWS maintains a policy, because the list of actions changes with the add-on's version.
resource "aws_iam_role_policy_attachment" "this" {
  for_each = var.managed_policies

  role       = aws_iam_role.this.name
  policy_arn = "arn:${data.aws_partition.current.partition}:iam::aws:policy/${each.key}"
}
