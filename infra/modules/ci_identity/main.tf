data "aws_caller_identity" "current" {}
data "aws_partition" "current" {}

locals {
  _account = data.aws_caller_identity.current.account_id
  _issuer  = "token.actions.githubusercontent.com"
  _iam     = "arn:${data.aws_partition.current.partition}:iam::${local._account}"
  _state   = "arn:${data.aws_partition.current.partition}:s3:::${var.state_bucket}"

  # Who may ask for which role. A workflow of a fork gets no token at all. A job that names the environment waits for its
  # approval. The last part, the branch, is there because the repository asks GitHub for it (see README.md): without it
  # an environment of the right name would do from any branch.
  _subjects = {
    plan = [
      "repo:${var.repository}:pull_request:ref:refs/pull/*/merge",
      "repo:${var.repository}:ref:refs/heads/${var.branch}:ref:refs/heads/${var.branch}",
    ]
    apply = ["repo:${var.repository}:environment:${var.environment}:ref:refs/heads/${var.branch}"]
  }
}

resource "aws_iam_openid_connect_provider" "this" {
  url            = "https://${local._issuer}"
  client_id_list = ["sts.amazonaws.com"]
}

resource "aws_iam_role" "this" {
  for_each = local._subjects

  name                 = "${var.name}-ci-${each.key}"
  description          = "GitHub Actions of ${var.repository}: terraform ${each.key} of ${var.environment}"
  max_session_duration = 3600 # seconds

  assume_role_policy = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Effect    = "Allow"
      Action    = "sts:AssumeRoleWithWebIdentity"
      Principal = { Federated = aws_iam_openid_connect_provider.this.arn }
      Condition = {
        StringEquals = { "${local._issuer}:aud" = "sts.amazonaws.com" }
        StringLike   = { "${local._issuer}:sub" = each.value }
      }
    }]
  })
}
