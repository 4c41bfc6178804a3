mock_provider "aws" {
  source = "../../mocks/aws"
}

variables {
  name            = "adloom-dev"
  cluster_name    = "adloom-dev"
  namespace       = "adloom"
  service_account = "adloom-api"
  access = {
    read_objects  = ["arn:aws:s3:::artifacts/bundles/*"]
    write_objects = ["arn:aws:s3:::requests/generations/*"]
    object_keys   = ["arn:aws:kms:eu-central-1:111122223333:key/k"]
  }
}

run "everything" {
  command = plan

  variables {
    access = { list_buckets = ["*"] }
  }

  expect_failures = [var.access]
}

run "nothing" {
  command = plan

  variables {
    access = {}
  }

  expect_failures = [var.access]
}

run "objects_without_their_key" {
  command = plan

  variables {
    access = { read_objects = ["arn:aws:s3:::b/*"] }
  }

  expect_failures = [var.access]
}

run "secrets_without_their_key" {
  command = plan

  variables {
    access = { read_secrets = ["arn:aws:secretsmanager:eu-central-1:111122223333:secret:s"] }
  }

  expect_failures = [var.access]
}

run "the_administrators_policy" {
  command = plan

  variables {
    managed_policies = ["AdministratorAccess"]
  }

  expect_failures = [var.managed_policies]
}

run "a_name_with_capitals" {
  command = plan

  variables {
    service_account = "API"
  }

  expect_failures = [var.service_account]
}

run "all_of_a_service" {
  command = plan

  variables {
    statements = [jsonencode({ Sid = "All", Effect = "Allow", Action = ["ec2:*"], Resource = "*" })]
  }

  expect_failures = [var.statements]
}

run "a_statement_without_a_resource" {
  command = plan

  variables {
    statements = [jsonencode({ Sid = "Where", Effect = "Allow", Action = ["ec2:DescribeVpcs"] })]
  }

  expect_failures = [var.statements]
}
