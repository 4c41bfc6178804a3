mock_provider "aws" {
  source = "../../mocks/aws"
}

variables {
  name    = "adloom-dev"
  entries = { "adloom-api/issuer-key" = "Private key that signs tokens." }
}

run "a_name_with_capitals" {
  command = plan

  variables {
    entries = { "API/Key" = "Private key that signs tokens." }
  }

  expect_failures = [var.entries]
}

run "a_secret_that_nobody_explains" {
  command = plan

  variables {
    entries = { "adloom-api/key" = "key" }
  }

  expect_failures = [var.entries]
}

run "six_days_of_recovery" {
  command = plan

  variables {
    recovery_days = 6
  }

  expect_failures = [var.recovery_days]
}
