mock_provider "aws" {
  source = "../../mocks/aws"
}

override_data {
  target = data.terraform_remote_state.network
  values = { outputs = { cidr = "10.20.0.0/16", private_subnet_ids = ["subnet-a", "subnet-b", "subnet-c"] } }
}

variables {
  account_id         = "111122223333"
  environment        = "prod"
  region             = "eu-central-1"
  state_bucket       = "adloom-prod-111122223333-state"
  kubernetes_version = "1.35"
  log_days           = 365
  administrators     = { platform = "arn:aws:iam::111122223333:role/platform" }
  node_groups        = { service = { instance_types = ["m7i.large"], nodes_min = 2, nodes_max = 4 } }
}

run "composition" {
  command = plan

  assert {
    condition     = output.name == "adloom-prod"
    error_message = "the cluster is named after project and environment"
  }
}

run "prod_on_the_internet" {
  command = plan

  variables {
    public_access_cidrs = ["203.0.113.0/24"]
  }

  expect_failures = [var.public_access_cidrs]
}
