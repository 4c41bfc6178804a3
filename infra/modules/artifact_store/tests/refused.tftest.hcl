mock_provider "aws" {
  source = "../../mocks/aws"
}

variables {
  name                 = "adloom-dev"
  audit_days           = 7
  expire_after_days    = { "generations/" = 90 }
  rollback_window_days = 30
  superseded_days      = 90
}

run "versions_that_go_before_the_rollback_window_ends" {
  command = plan

  variables {
    superseded_days = 29
  }

  expect_failures = [var.superseded_days]
}

run "a_rollback_window_of_a_day" {
  command = plan

  variables {
    rollback_window_days = 1
  }

  expect_failures = [var.rollback_window_days]
}

run "a_lock_that_outlasts_the_objects" {
  command = plan

  variables {
    audit_days = 91
  }

  expect_failures = [var.expire_after_days]
}

run "no_lock" {
  command = plan

  variables {
    audit_days = 0
  }

  expect_failures = [var.audit_days]
}

run "a_prefix_that_is_no_folder" {
  command = plan

  variables {
    expire_after_days = { generations = 90 }
  }

  expect_failures = [var.expire_after_days]
}

run "access_logs_of_a_week" {
  command = plan

  variables {
    access_log_days = 7
  }

  expect_failures = [var.access_log_days]
}

run "a_name_that_no_bucket_can_have" {
  command = plan

  variables {
    name = "Adloom_Dev"
  }

  expect_failures = [var.name]
}
