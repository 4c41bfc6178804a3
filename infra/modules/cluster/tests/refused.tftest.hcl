mock_provider "aws" {
  source = "../../mocks/aws"
}

variables {
  name               = "adloom-dev"
  kubernetes_version = "1.35"
  subnet_ids         = ["subnet-a", "subnet-b", "subnet-c"]
  vpc_cidr           = "10.20.0.0/16"
  administrators     = { platform = "arn:aws:iam::111122223333:role/platform" }
  viewers            = { on-call = "arn:aws:iam::111122223333:role/on-call" }
  node_groups = {
    service  = { instance_types = ["m7i.large"], nodes_min = 2, nodes_max = 4 }
    training = { instance_types = ["m7i.2xlarge"], nodes_min = 0, nodes_max = 1, taints = { "adloom.io/training" = "true" } }
  }
}

run "a_version_out_of_support" {
  command = plan

  variables {
    kubernetes_version = "1.34"
  }

  expect_failures = [var.kubernetes_version]
}

run "a_version_that_is_none" {
  command = plan

  variables {
    kubernetes_version = "latest"
  }

  expect_failures = [var.kubernetes_version]
}

run "the_whole_internet" {
  command = plan

  variables {
    public_access_cidrs = ["0.0.0.0/0"]
  }

  expect_failures = [var.public_access_cidrs]
}

run "services_on_the_networks_addresses" {
  command = plan

  variables {
    service_cidr = "10.20.64.0/20"
  }

  expect_failures = [var.service_cidr]
}

run "services_around_the_network" {
  command = plan

  variables {
    service_cidr = "10.16.0.0/12"
  }

  expect_failures = [var.service_cidr]
}

run "subnets_of_two_zones" {
  command = plan

  variables {
    subnet_ids = ["subnet-a", "subnet-b"]
  }

  expect_failures = [var.subnet_ids]
}

run "nobody_who_may_get_in" {
  command = plan

  variables {
    administrators = {}
  }

  expect_failures = [var.administrators]
}

run "a_user_as_administrator" {
  command = plan

  variables {
    administrators = { me = "arn:aws:iam::111122223333:user/me" }
  }

  expect_failures = [var.administrators]
}

run "nodes_for_training_alone" {
  command = plan

  variables {
    node_groups = { training = { instance_types = ["m7i.large"], nodes_min = 1, nodes_max = 1, taints = { a = "b" } } }
  }

  expect_failures = [var.node_groups]
}

run "more_nodes_at_least_than_at_most" {
  command = plan

  variables {
    node_groups = { service = { instance_types = ["m7i.large"], nodes_min = 3, nodes_max = 2 } }
  }

  expect_failures = [var.node_groups]
}

run "a_cluster_without_pod_identity" {
  command = plan

  variables {
    addons = { coredns = null, kube-proxy = null, vpc-cni = null }
  }

  expect_failures = [var.addons]
}

run "days_that_aws_does_not_know" {
  command = plan

  variables {
    log_days = 7
  }

  expect_failures = [var.log_days]
}

run "a_name_with_capitals" {
  command = plan

  variables {
    name = "Adloom_Dev"
  }

  expect_failures = [var.name]
}
