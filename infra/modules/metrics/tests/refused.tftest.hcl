mock_provider "aws" {
  source = "../../mocks/aws"
}

variables {
  name         = "adloom-dev"
  alert_emails = ["on-call@example.com"]
  rule_files = {
    adloom-api = <<-YAML
      groups:
        - name: one
          rules: [{alert: AdloomUp, expr: "up == 1"}]
    YAML
  }
}

run "alerts_for_nobody" {
  command = plan

  variables {
    alert_emails = []
  }

  expect_failures = [var.alert_emails]
}

run "an_address_that_is_none" {
  command = plan

  variables {
    alert_emails = ["on-call"]
  }

  expect_failures = [var.alert_emails]
}

run "a_rule_file_without_groups" {
  command = plan

  variables {
    rule_files = { adloom-api = "groups: []" }
  }

  expect_failures = [var.rule_files]
}

run "a_rule_file_that_is_no_yaml" {
  command = plan

  variables {
    rule_files = { adloom-api = "{" }
  }

  expect_failures = [var.rule_files]
}

run "days_that_aws_does_not_know" {
  command = plan

  variables {
    log_days = 7
  }

  expect_failures = [var.log_days]
}

run "a_tree_without_a_route" {
  command = plan

  variables {
    alert_routes = "inhibit_rules: []"
  }

  expect_failures = [var.alert_routes]
}
