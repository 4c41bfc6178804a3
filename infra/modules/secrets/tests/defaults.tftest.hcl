mock_provider "aws" {
  source = "../../mocks/aws"
}

variables {
  name    = "adloom-dev"
  entries = { "adloom-api/issuer-key" = "Private key that signs tokens." }
}

run "an_entry_without_a_value" {
  command = plan

  assert {
    condition     = aws_secretsmanager_secret.this["adloom-api/issuer-key"].name == "adloom-dev/adloom-api/issuer-key"
    error_message = "a secret is named after environment, app and thing"
  }

  assert {
    condition     = aws_secretsmanager_secret.this["adloom-api/issuer-key"].recovery_window_in_days == 30
    error_message = "a deleted secret must be there for 30 days more"
  }
}

run "a_teardown_deletes_at_once" {
  command = plan

  variables {
    teardown = true
  }

  assert {
    condition     = aws_secretsmanager_secret.this["adloom-api/issuer-key"].recovery_window_in_days == 0
    error_message = "the next apply must be able to use the name"
  }
}
