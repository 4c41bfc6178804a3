resource "aws_budgets_budget" "this" {
  name         = var.name
  budget_type  = "COST"
  limit_amount = format("%.1f", var.monthly_usd)
  limit_unit   = "USD"
  time_unit    = "MONTHLY"

  # What was spent is known a day late: the forecast is the one that leaves time to act.
  dynamic "notification" {
    for_each = concat(
      [for percent in var.warn_at_percent : { type = "ACTUAL", percent = percent }],
      [{ type = "FORECASTED", percent = 100 }],
    )

    content {
      notification_type          = notification.value.type
      comparison_operator        = "GREATER_THAN"
      threshold                  = notification.value.percent
      threshold_type             = "PERCENTAGE"
      subscriber_email_addresses = var.emails
    }
  }
}
