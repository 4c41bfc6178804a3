resource "aws_sns_topic" "this" {
  name              = "${var.name}-alerts"
  kms_master_key_id = module.key.arn
}

resource "aws_sns_topic_policy" "this" {
  arn = aws_sns_topic.this.arn

  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [
      {
        Sid       = "AlertManagerOfThisWorkspace"
        Effect    = "Allow"
        Principal = { Service = "aps.amazonaws.com" }
        Action    = ["sns:GetTopicAttributes", "sns:Publish"]
        Resource  = aws_sns_topic.this.arn
        Condition = {
          ArnEquals    = { "aws:SourceArn" = aws_prometheus_workspace.this.arn }
          StringEquals = { "aws:SourceAccount" = data.aws_caller_identity.current.account_id }
        }
      },
      {
        Sid       = "TlsOnly"
        Effect    = "Deny"
        Principal = { AWS = "*" }
        Action    = "sns:Publish"
        Resource  = aws_sns_topic.this.arn
        Condition = { Bool = { "aws:SecureTransport" = "false" } }
      },
    ]
  })
}

# Each address is asked once, by mail, whether it wants to hear from the topic.
resource "aws_sns_topic_subscription" "this" {
  for_each = var.alert_emails

  topic_arn = aws_sns_topic.this.arn
  protocol  = "email"
  endpoint  = each.key
}

# Who is told of what is the tree of gitops/platform/alertmanager/routes.yaml, the same that Alertmanager has. Here people
# are told through the topic; whatever else the tree names is told from within the cluster.
locals {
  _by_severity = {
    route = {
      receiver = "tickets"
      group_by = ["alertname", "service"]
      routes = [
        { receiver = "pager", matchers = ["severity=\"critical\""], repeat_interval = "1h" },
        { receiver = "tickets", matchers = ["severity=\"warning\""], repeat_interval = "12h" },
        { receiver = "nobody", matchers = ["severity=\"info\""], repeat_interval = "12h" },
      ]
    }
    inhibit_rules = []
  }
  _told = ["pager", "tickets"]
  _tree = var.alert_routes == null ? jsonencode(local._by_severity) : jsonencode(yamldecode(var.alert_routes))
  _sns = [{
    topic_arn     = aws_sns_topic.this.arn
    send_resolved = true
    sigv4         = { region = data.aws_region.current.name }
  }]
  _receivers = sort(distinct(concat(
    [jsondecode(local._tree).route.receiver],
    [for each in jsondecode(local._tree).route.routes : each.receiver],
  )))
}

resource "aws_prometheus_alert_manager_definition" "this" {
  workspace_id = aws_prometheus_workspace.this.id

  definition = yamlencode({
    alertmanager_config = yamlencode({
      route         = jsondecode(local._tree).route
      inhibit_rules = jsondecode(local._tree).inhibit_rules
      receivers = [
        for name in local._receivers :
        merge({ name = name }, contains(local._told, name) ? { sns_configs = local._sns } : {})
      ]
    })
  })

  depends_on = [aws_sns_topic_policy.this]
}
