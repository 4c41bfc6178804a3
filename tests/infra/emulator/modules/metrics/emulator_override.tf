# moto 5.2 has no CreateAlertManagerDefinition: looked at in modules/metrics/tests instead.
resource "aws_prometheus_alert_manager_definition" "this" {
  count = 0
}

# moto forgets the workspace's key: looked at in modules/metrics/tests too.
resource "aws_prometheus_workspace" "this" {
  lifecycle {
    ignore_changes = [kms_key_arn]
  }
}
