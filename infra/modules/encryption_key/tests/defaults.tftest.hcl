mock_provider "aws" {
  source = "../../mocks/aws"
}

variables {
  name        = "adloom-dev-metrics"
  description = "Metrics and alerts of adloom-dev"
  logs        = true
  services    = ["sns.amazonaws.com"]
}

run "a_key_rotates_and_only_what_was_named_may_use_it" {
  command = apply

  assert {
    condition     = aws_kms_key.this.enable_key_rotation && aws_kms_key.this.deletion_window_in_days == 30
    error_message = "the key must rotate and leave 30 days to think better of its deletion"
  }

  assert {
    condition = [for each in jsondecode(aws_kms_key.this.policy).Statement : each.Principal] == [
      { AWS = "arn:aws:iam::111122223333:root" },
      { Service = "logs.eu-central-1.amazonaws.com" },
      { Service = "sns.amazonaws.com" },
    ]
    error_message = "the policy must name the account, the logs and the topic, and nobody else"
  }

  assert {
    condition     = jsondecode(aws_kms_key.this.policy).Statement[2].Condition.StringEquals["aws:SourceAccount"] == "111122223333"
    error_message = "a service may use the key for this account alone"
  }
}

run "a_key_of_nothing_else_is_the_accounts_alone" {
  command = apply

  variables {
    logs     = false
    services = []
  }

  assert {
    condition     = length(jsondecode(aws_kms_key.this.policy).Statement) == 1
    error_message = "without logs and services the policy has one statement"
  }
}
