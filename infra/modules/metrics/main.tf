data "aws_caller_identity" "current" {}
data "aws_region" "current" {}

module "key" {
  source = "../encryption_key"

  name        = "${var.name}-metrics"
  description = "Metrics, their log group and alerts of ${var.name}"
  logs        = true
  services    = ["aps.amazonaws.com", "sns.amazonaws.com"]
}

resource "aws_cloudwatch_log_group" "this" {
  name              = "/aws/prometheus/${var.name}"
  retention_in_days = var.log_days
  kms_key_id        = module.key.arn
}

resource "aws_prometheus_workspace" "this" {
  alias       = var.name
  kms_key_arn = module.key.arn

  # Says which rule failed to evaluate and which alert could not be delivered.
  logging_configuration {
    log_group_arn = "${aws_cloudwatch_log_group.this.arn}:*"
  }
}

# The very files that promtool tests, one namespace each. A PrometheusRule carries its groups below spec.
resource "aws_prometheus_rule_group_namespace" "this" {
  for_each = var.rule_files

  name         = each.key
  workspace_id = aws_prometheus_workspace.this.id
  data         = yamlencode({ groups = try(yamldecode(each.value).spec.groups, yamldecode(each.value).groups) })
}
