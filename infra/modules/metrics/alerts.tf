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

# One notification for a group of alerts; what is critical is repeated more often, and information reaches nobody.
resource "aws_prometheus_alert_manager_definition" "this" {
  workspace_id = aws_prometheus_workspace.this.id

  definition = yamlencode({
    alertmanager_config = yamlencode({
      route = {
        receiver        = "nobody"
        group_by        = ["alertname"]
        group_wait      = "30s"
        group_interval  = "5m"
        repeat_interval = "12h"
        routes = [
          { receiver = "topic", matchers = ["severity=\"critical\""], repeat_interval = "1h" },
          { receiver = "topic", matchers = ["severity=\"warning\""], repeat_interval = "12h" },
        ]
      }
      receivers = [
        { name = "nobody" },
        {
          name = "topic"
          sns_configs = [{
            topic_arn     = aws_sns_topic.this.arn
            send_resolved = true
            sigv4         = { region = data.aws_region.current.name }
          }]
        },
      ]
    })
  })

  depends_on = [aws_sns_topic_policy.this]
}
