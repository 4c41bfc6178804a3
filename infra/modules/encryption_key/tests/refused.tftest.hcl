mock_provider "aws" {
  source = "../../mocks/aws"
}

variables {
  name        = "adloom-dev-metrics"
  description = "Metrics and alerts of adloom-dev"
}

run "six_days_of_thinking_it_over" {
  command = plan

  variables {
    deletion_window_days = 6
  }

  expect_failures = [var.deletion_window_days]
}

run "thirty_one_days_of_thinking_it_over" {
  command = plan

  variables {
    deletion_window_days = 31
  }

  expect_failures = [var.deletion_window_days]
}

run "a_name_that_aws_keeps" {
  command = plan

  variables {
    name = "aws-key"
  }

  expect_failures = [var.name]
}

run "a_service_that_is_none" {
  command = plan

  variables {
    services = ["everybody"]
  }

  expect_failures = [var.services]
}
