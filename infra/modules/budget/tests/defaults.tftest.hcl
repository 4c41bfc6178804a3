mock_provider "aws" {
  source = "../../mocks/aws"
}

variables {
  name        = "adloom-dev"
  monthly_usd = 500
  emails      = ["platform@example.com"]
}

# The emulator keeps no notifications: this is where they are looked at.
run "what_was_spent_and_what_will_be" {
  command = plan

  assert {
    condition     = sort([for each in aws_budgets_budget.this.notification : "${each.notification_type} ${each.threshold}"]) == tolist(["ACTUAL 100", "ACTUAL 50", "ACTUAL 80", "FORECASTED 100"])
    error_message = "three shares spent and one forecast must be reported"
  }

  assert {
    condition     = alltrue([for each in aws_budgets_budget.this.notification : each.subscriber_email_addresses == toset(["platform@example.com"])])
    error_message = "somebody must hear of it"
  }
}
