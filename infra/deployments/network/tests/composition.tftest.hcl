mock_provider "aws" {
  source = "../../mocks/aws"
}

variables {
  account_id          = "111122223333"
  environment         = "dev"
  region              = "eu-central-1"
  state_bucket        = "adloom-dev-111122223333-state"
  budget_emails       = ["platform@example.com"]
  cidr                = "10.20.0.0/16"
  flow_log_days       = 30
  interface_endpoints = ["ecr.api", "ecr.dkr"]
  monthly_usd         = 500
  nat_per_zone        = false
  repository          = "example/adloom"
  reserved_cidrs      = ["10.30.0.0/16"]
  zones               = ["eu-central-1a", "eu-central-1b", "eu-central-1c"]
}

run "composition" {
  command = apply

  assert {
    condition     = length(output.private_subnet_ids) == 3 && length(output.data_subnet_ids) == 3
    error_message = "cluster and database need subnets of three zones"
  }

  assert {
    condition     = sort(keys(output.policies)) == tolist(["ci-apply", "ci-plan"])
    error_message = "CI has a role to plan and one to apply"
  }
}

run "zones_of_another_region" {
  command = plan

  variables {
    zones = ["us-east-1a", "us-east-1b", "us-east-1c"]
  }

  expect_failures = [var.zones]
}

run "prod_with_one_way_out" {
  command = plan

  variables {
    environment = "prod"
  }

  expect_failures = [var.nat_per_zone]
}

run "an_environment_that_is_none" {
  command = plan

  variables {
    environment = "test"
  }

  expect_failures = [var.environment]
}

run "an_account_that_is_none" {
  command = plan

  variables {
    account_id = "1111-2222-3333"
  }

  expect_failures = [var.account_id]
}
