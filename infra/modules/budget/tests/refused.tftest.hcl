mock_provider "aws" {
  source = "../../mocks/aws"
}

variables {
  name        = "adloom-dev"
  monthly_usd = 500
  emails      = ["platform@example.com"]
}

run "a_budget_of_nothing" {
  command = plan

  variables {
    monthly_usd = 0
  }

  expect_failures = [var.monthly_usd]
}

run "nobody_who_hears_of_it" {
  command = plan

  variables {
    emails = []
  }

  expect_failures = [var.emails]
}

run "a_share_of_nothing" {
  command = plan

  variables {
    warn_at_percent = [0]
  }

  expect_failures = [var.warn_at_percent]
}

run "five_shares" {
  command = plan

  variables {
    warn_at_percent = [10, 20, 30, 40, 50]
  }

  expect_failures = [var.warn_at_percent]
}
