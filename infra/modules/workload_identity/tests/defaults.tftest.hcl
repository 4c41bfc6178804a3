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

run "one_service_account_of_one_cluster" {
  command = plan

  assert {
    condition = jsondecode(aws_iam_role.this.assume_role_policy).Statement[0].Condition.StringEquals == {
      "aws:RequestTag/eks-cluster-arn"            = "arn:aws:eks:eu-central-1:111122223333:cluster/adloom-dev"
      "aws:RequestTag/kubernetes-namespace"       = "adloom"
      "aws:RequestTag/kubernetes-service-account" = "adloom-api"
    }
    error_message = "nobody but the service account may have the role"
  }

  # The emulator knows no associations: this is where they are looked at.
  assert {
    condition     = aws_eks_pod_identity_association.this.namespace == "adloom" && aws_eks_pod_identity_association.this.service_account == "adloom-api"
    error_message = "the cluster must know whose role it is"
  }

  assert {
    condition     = [for each in jsondecode(aws_iam_role_policy.this["access"].policy).Statement : each.Sid] == ["ReadObjects", "WriteObjects", "KeysOfObjects"]
    error_message = "what was granted, and nothing else"
  }

  assert {
    condition     = jsondecode(aws_iam_role_policy.this["access"].policy).Statement[2].Action == ["kms:Decrypt", "kms:GenerateDataKey"]
    error_message = "who writes an object must be able to make its data key"
  }
}

run "who_only_reads_cannot_encrypt" {
  command = plan

  variables {
    access = {
      read_objects = ["arn:aws:s3:::artifacts/bundles/*"]
      object_keys  = ["arn:aws:kms:eu-central-1:111122223333:key/k"]
    }
  }

  assert {
    condition     = jsondecode(aws_iam_role_policy.this["access"].policy).Statement[1].Action == ["kms:Decrypt"]
    error_message = "to read is to decrypt and no more"
  }
}

run "an_add_on_has_the_policy_that_aws_maintains" {
  command = plan

  variables {
    service_account  = "ebs-csi-controller-sa"
    access           = {}
    managed_policies = ["service-role/AmazonEBSCSIDriverPolicy"]
  }

  assert {
    condition     = length(aws_iam_role_policy.this) == 0 && endswith(aws_iam_role_policy_attachment.this["service-role/AmazonEBSCSIDriverPolicy"].policy_arn, ":policy/service-role/AmazonEBSCSIDriverPolicy")
    error_message = "the add-on has that policy and none of its own"
  }
}

run "a_controller_has_statements_of_its_own" {
  command = plan

  variables {
    access     = {}
    statements = [jsonencode({ Sid = "Look", Effect = "Allow", Action = ["ec2:DescribeVpcs"], Resource = "*" })]
  }

  assert {
    condition     = [for each in jsondecode(aws_iam_role_policy.this["access"].policy).Statement : each.Sid] == ["Look"]
    error_message = "the statements are its policy"
  }
}
