mock_provider "aws" {
  source = "../../mocks/aws"
}

variables {
  name           = "adloom-dev"
  cidr           = "10.20.0.0/16"
  zones          = ["eu-central-1a", "eu-central-1b", "eu-central-1c"]
  reserved_cidrs = ["10.30.0.0/16", "192.168.0.0/16"]
}

run "one_zone" {
  command = plan

  variables {
    zones = ["eu-central-1a"]
  }

  expect_failures = [var.zones]
}

run "the_same_zone_three_times" {
  command = plan

  variables {
    zones = ["eu-central-1a", "eu-central-1a", "eu-central-1a"]
  }

  expect_failures = [var.zones]
}

run "a_range_that_holds_a_reserved_one" {
  command = plan

  variables {
    reserved_cidrs = ["10.20.5.0/24"]
  }

  expect_failures = [var.cidr]
}

run "a_range_within_a_reserved_one" {
  command = plan

  variables {
    reserved_cidrs = ["10.0.0.0/8"]
  }

  expect_failures = [var.cidr]
}

run "the_reserved_range_itself" {
  command = plan

  variables {
    reserved_cidrs = ["10.20.0.0/16"]
  }

  expect_failures = [var.cidr]
}

run "a_range_that_is_too_small" {
  command = plan

  variables {
    cidr = "10.20.0.0/21"
  }

  expect_failures = [var.cidr]
}

run "a_range_that_is_too_large" {
  command = plan

  variables {
    cidr = "10.0.0.0/15"
  }

  expect_failures = [var.cidr]
}

run "a_range_written_from_its_middle" {
  command = plan

  variables {
    cidr = "10.20.1.0/16"
  }

  expect_failures = [var.cidr]
}

run "something_that_is_no_range" {
  command = plan

  variables {
    cidr = "home"
  }

  expect_failures = [var.cidr]
}

run "days_that_aws_does_not_know" {
  command = plan

  variables {
    flow_log_days = 31
  }

  expect_failures = [var.flow_log_days]
}

run "a_network_without_the_registry" {
  command = plan

  variables {
    interface_endpoints = ["sts"]
  }

  expect_failures = [var.interface_endpoints]
}

run "a_reserved_range_that_is_none" {
  command = plan

  variables {
    reserved_cidrs = ["office"]
  }

  expect_failures = [var.reserved_cidrs]
}
