output "endpoint" {
  description = "Address of the workspace: add api/v1/remote_write to write, api/v1/query to ask."
  value       = aws_prometheus_workspace.this.prometheus_endpoint
}

output "topic_arn" {
  description = "Topic that alerts go to."
  value       = aws_sns_topic.this.arn
  depends_on  = [aws_sns_topic_policy.this]
}

output "workspace_arn" {
  description = "ARN of the workspace, usable once its rules are loaded."
  value       = aws_prometheus_workspace.this.arn
  depends_on  = [aws_prometheus_alert_manager_definition.this, aws_prometheus_rule_group_namespace.this]
}
