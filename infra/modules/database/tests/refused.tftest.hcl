mock_provider "aws" {
  source = "../../mocks/aws"
}

variables {
  name                   = "adloom-prod"
  environment            = "prod"
  vpc_id                 = "vpc-1"
  subnet_ids             = ["subnet-a", "subnet-b", "subnet-c"]
  client_security_groups = { cluster = "sg-1" }
  instance_class         = "db.m7g.large"
  multi_az               = true
  backup_days            = 35
}

run "prod_without_a_standby" {
  command = plan

  variables {
    multi_az = false
  }

  expect_failures = [var.multi_az]
}

run "prod_without_deletion_protection" {
  command = plan

  variables {
    deletion_protection = false
  }

  expect_failures = [var.deletion_protection]
}

run "backups_of_six_days" {
  command = plan

  variables {
    backup_days = 6
  }

  expect_failures = [var.backup_days]
}

run "backups_of_thirty_six_days" {
  command = plan

  variables {
    backup_days = 36
  }

  expect_failures = [var.backup_days]
}

run "subnets_of_two_zones" {
  command = plan

  variables {
    subnet_ids = ["subnet-a", "subnet-b"]
  }

  expect_failures = [var.subnet_ids]
}

run "nobody_who_may_connect" {
  command = plan

  variables {
    client_security_groups = {}
  }

  expect_failures = [var.client_security_groups]
}

run "an_old_postgresql" {
  command = plan

  variables {
    engine_version = "14"
  }

  expect_failures = [var.engine_version]
}

run "a_size_that_is_none" {
  command = plan

  variables {
    instance_class = "large"
  }

  expect_failures = [var.instance_class]
}

run "a_disk_that_cannot_grow" {
  command = plan

  variables {
    storage_gib_max = 20
  }

  expect_failures = [var.storage_gib_max]
}

run "a_disk_that_is_too_small" {
  command = plan

  variables {
    storage_gib = 10
  }

  expect_failures = [var.storage_gib]
}

run "days_that_aws_does_not_know" {
  command = plan

  variables {
    log_days = 7
  }

  expect_failures = [var.log_days]
}
