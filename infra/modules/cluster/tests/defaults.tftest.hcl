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

run "a_private_cluster_with_everything_logged_and_encrypted" {
  command = plan

  assert {
    condition     = aws_eks_cluster.this.vpc_config[0].endpoint_private_access && !aws_eks_cluster.this.vpc_config[0].endpoint_public_access
    error_message = "the API must be reached from the network alone"
  }

  assert {
    condition     = aws_eks_cluster.this.enabled_cluster_log_types == toset(["api", "audit", "authenticator", "controllerManager", "scheduler"])
    error_message = "every log of the control plane must be on"
  }

  assert {
    condition     = aws_eks_cluster.this.encryption_config[0].resources == toset(["secrets"])
    error_message = "Kubernetes secrets must be encrypted with our key"
  }

  assert {
    condition     = alltrue([for each in aws_launch_template.this : each.metadata_options[0].http_tokens == "required" && each.metadata_options[0].http_put_response_hop_limit == 1])
    error_message = "a pod must not get at the node's role"
  }

  assert {
    condition     = [for taint in aws_eks_node_group.this["training"].taint : taint.effect] == ["NO_SCHEDULE"]
    error_message = "nothing but training may run on nodes for training"
  }
}

# The emulator knows neither add-ons nor access entries: this is where they are looked at.
run "add_ons_and_access_are_declared" {
  command = plan

  assert {
    condition     = length(setsubtract(["coredns", "eks-pod-identity-agent", "kube-proxy", "vpc-cni"], keys(aws_eks_addon.this))) == 0
    error_message = "the add-ons that a pod cannot do without must be there"
  }

  assert {
    condition     = aws_eks_cluster.this.access_config[0].authentication_mode == "API" && !aws_eks_cluster.this.access_config[0].bootstrap_cluster_creator_admin_permissions
    error_message = "access comes from entries alone, and creating the cluster gives none"
  }

  assert {
    condition     = endswith(aws_eks_access_policy_association.this["platform"].policy_arn, "/AmazonEKSClusterAdminPolicy")
    error_message = "an administrator must be one"
  }

  assert {
    condition     = endswith(aws_eks_access_policy_association.this["on-call"].policy_arn, "/AmazonEKSAdminViewPolicy")
    error_message = "a viewer may only look"
  }
}

run "an_office_may_be_let_in" {
  command = plan

  variables {
    public_access_cidrs = ["203.0.113.0/24"]
  }

  assert {
    condition     = aws_eks_cluster.this.vpc_config[0].endpoint_public_access && aws_eks_cluster.this.vpc_config[0].public_access_cidrs == toset(["203.0.113.0/24"])
    error_message = "the public endpoint must be open to the office and to nobody else"
  }
}
