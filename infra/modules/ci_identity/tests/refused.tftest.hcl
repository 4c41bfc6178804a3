mock_provider "aws" {
  source = "../../mocks/aws"
}

variables {
  name         = "adloom-prod"
  environment  = "prod"
  repository   = "example/adloom"
  state_bucket = "adloom-prod-111122223333-state"
}

run "every_repository_of_an_owner" {
  command = plan

  variables {
    repository = "example/*"
  }

  expect_failures = [var.repository]
}

run "a_pattern_of_branches" {
  command = plan

  variables {
    branch = "release-*"
  }

  expect_failures = [var.branch]
}
