mock_provider "aws" {
  source = "../../mocks/aws"
}

override_data {
  target = data.terraform_remote_state.network
  values = { outputs = { vpc_id = "vpc-1", data_subnet_ids = ["subnet-a", "subnet-b", "subnet-c"] } }
}

override_data {
  target = data.terraform_remote_state.cluster
  values = { outputs = { name = "adloom-dev", security_group_id = "sg-1" } }
}

# A name for each, so that the table of who may do what tells them apart.
override_resource {
  target = module.artifact_store.module.key.aws_kms_key.this
  values = { arn = "arn:aws:kms:eu-central-1:111122223333:key/artifacts" }
}

override_resource {
  target = module.secrets.module.key.aws_kms_key.this
  values = { arn = "arn:aws:kms:eu-central-1:111122223333:key/secrets" }
}

override_resource {
  target = module.database.module.key.aws_kms_key.this
  values = { arn = "arn:aws:kms:eu-central-1:111122223333:key/database" }
}

override_resource {
  target = module.secrets.aws_secretsmanager_secret.this
  values = { arn = "arn:aws:secretsmanager:eu-central-1:111122223333:secret:adloom-dev/of-external-secrets" }
}

override_resource {
  target = module.database.aws_db_instance.this
  values = {
    arn                = "arn:aws:rds:eu-central-1:111122223333:db:adloom-dev"
    endpoint           = "adloom-dev.example.eu-central-1.rds.amazonaws.com:5432"
    master_user_secret = [{ secret_arn = "arn:aws:secretsmanager:eu-central-1:111122223333:secret:of-the-database" }]
  }
}

variables {
  account_id           = "111122223333"
  environment          = "dev"
  region               = "eu-central-1"
  state_bucket         = "adloom-dev-111122223333-state"
  alert_emails         = ["on-call@example.com"]
  log_days             = 30
  audit_days           = 1
  expire_after_days    = { "generations/" = 90 }
  rollback_window_days = 14
  superseded_days      = 30
  database             = { instance_class = "db.t4g.medium", multi_az = false, backup_days = 7, deletion_protection = false }
  secrets              = { "adloom-api/issuer-key" = "Private key that signs tokens." }
}

run "composition" {
  command = apply

  assert {
    condition     = output.platform_env["ADLOOM_OBJECTS_URL"] == "s3://adloom-dev-111122223333-requests"
    error_message = "the service must be told where its objects go"
  }

  assert {
    condition     = alltrue([for policy in values(output.policies) : !strcontains(policy, "\"Resource\":[\"*\"]")])
    error_message = "no service account may do anything to everything"
  }

  assert {
    condition = alltrue([
      for each in jsondecode(output.policies["adloom-api"]).Statement :
      each.Sid != "WriteObjects" || toset(each.Resource) == toset([
        for folder in ["catalogue", "generations", "pairs", "photographs"] : "arn:aws:s3:::adloom-dev-111122223333-requests/${folder}/*"
      ])
    ])
    error_message = "the service writes what clients send and its log, and nothing else"
  }

  assert {
    condition = alltrue([
      for each in jsondecode(output.policies["adloom-pipelines"]).Statement :
      each.Sid != "DeleteObjects" || toset(each.Resource) == toset(["arn:aws:s3:::adloom-dev-111122223333-requests/drift/reports/*"])
    ])
    error_message = "pipelines remove old drift reports, and nothing else"
  }

  assert {
    condition     = !strcontains(output.policies["adloom-pipelines"], "requests/generations/*\"")
    error_message = "pipelines must not be able to change what the service logged"
  }
}

