# What the load-balancer controller must be allowed for Ingresses with targets by address: the actions of the policy that
# its project publishes for version 2.17 (docs/install/iam_policy.json), without Network Load Balancers, Cognito, WAF and
# Shield, and narrowed to what carries this cluster's name. It may read what is there, make what it tags with the
# cluster, and change or remove only that.
locals {
  _cluster = data.terraform_remote_state.cluster.outputs.name
  _elb     = "arn:aws:elasticloadbalancing:*:*"
  _groups  = "arn:aws:ec2:*:*:security-group/*"

  _asked = { StringEquals = { "aws:RequestTag/elbv2.k8s.aws/cluster" = local._cluster } }
  _own   = { StringEquals = { "aws:ResourceTag/elbv2.k8s.aws/cluster" = local._cluster } }

  # Encoded one by one: with and without a condition they differ in shape, and a list in Terraform has one.
  load_balancer_statements = [
    jsonencode({
      Sid    = "Look"
      Effect = "Allow"
      Action = [
        "acm:DescribeCertificate", "acm:ListCertificates",
        "ec2:DescribeAccountAttributes", "ec2:DescribeAddresses", "ec2:DescribeAvailabilityZones",
        "ec2:DescribeInstances", "ec2:DescribeInternetGateways", "ec2:DescribeNetworkInterfaces",
        "ec2:DescribeRouteTables", "ec2:DescribeSecurityGroups", "ec2:DescribeSubnets", "ec2:DescribeTags",
        "ec2:DescribeVpcPeeringConnections", "ec2:DescribeVpcs", "ec2:GetSecurityGroupsForVpc",
        "elasticloadbalancing:DescribeCapacityReservation", "elasticloadbalancing:DescribeListenerAttributes",
        "elasticloadbalancing:DescribeListenerCertificates", "elasticloadbalancing:DescribeListeners",
        "elasticloadbalancing:DescribeLoadBalancerAttributes", "elasticloadbalancing:DescribeLoadBalancers",
        "elasticloadbalancing:DescribeRules", "elasticloadbalancing:DescribeSSLPolicies",
        "elasticloadbalancing:DescribeTags", "elasticloadbalancing:DescribeTargetGroupAttributes",
        "elasticloadbalancing:DescribeTargetGroups", "elasticloadbalancing:DescribeTargetHealth",
        "elasticloadbalancing:DescribeTrustStores",
      ]
      Resource = "*"
    }),
    # The role by which load balancers themselves act, where the account has none yet.
    jsonencode({
      Sid       = "ServiceRole"
      Effect    = "Allow"
      Action    = ["iam:CreateServiceLinkedRole"]
      Resource  = "arn:aws:iam::*:role/aws-service-role/elasticloadbalancing.amazonaws.com/*"
      Condition = { StringEquals = { "iam:AWSServiceName" = "elasticloadbalancing.amazonaws.com" } }
    }),
    jsonencode({
      Sid      = "MakeGroups"
      Effect   = "Allow"
      Action   = ["ec2:CreateSecurityGroup"]
      Resource = "*"
    }),
    jsonencode({
      Sid      = "TagNewGroups"
      Effect   = "Allow"
      Action   = ["ec2:CreateTags"]
      Resource = local._groups
      Condition = { StringEquals = merge(local._asked.StringEquals, {
        "ec2:CreateAction" = "CreateSecurityGroup"
      }) }
    }),
    jsonencode({
      Sid    = "OwnGroups"
      Effect = "Allow"
      Action = [
        "ec2:AuthorizeSecurityGroupIngress", "ec2:CreateTags", "ec2:DeleteSecurityGroup", "ec2:DeleteTags",
        "ec2:RevokeSecurityGroupIngress",
      ]
      Resource  = local._groups
      Condition = local._own
    }),
    # The way from a load balancer to the pods leads through the cluster's group, which EKS has made and tagged.
    jsonencode({
      Sid       = "GroupOfTheCluster"
      Effect    = "Allow"
      Action    = ["ec2:AuthorizeSecurityGroupIngress", "ec2:RevokeSecurityGroupIngress"]
      Resource  = local._groups
      Condition = { StringEquals = { "aws:ResourceTag/kubernetes.io/cluster/${local._cluster}" = "owned" } }
    }),
    jsonencode({
      Sid       = "Make"
      Effect    = "Allow"
      Action    = ["elasticloadbalancing:CreateLoadBalancer", "elasticloadbalancing:CreateTargetGroup"]
      Resource  = "*"
      Condition = local._asked
    }),
    jsonencode({
      Sid      = "TagNew"
      Effect   = "Allow"
      Action   = ["elasticloadbalancing:AddTags"]
      Resource = ["${local._elb}:loadbalancer/app/*", "${local._elb}:targetgroup/*"]
      Condition = { StringEquals = merge(local._asked.StringEquals, {
        "elasticloadbalancing:CreateAction" = ["CreateLoadBalancer", "CreateTargetGroup"]
      }) }
    }),
    jsonencode({
      Sid    = "Own"
      Effect = "Allow"
      Action = [
        "elasticloadbalancing:AddTags", "elasticloadbalancing:DeleteLoadBalancer",
        "elasticloadbalancing:DeleteTargetGroup", "elasticloadbalancing:DeregisterTargets",
        "elasticloadbalancing:ModifyLoadBalancerAttributes", "elasticloadbalancing:ModifyTargetGroup",
        "elasticloadbalancing:ModifyTargetGroupAttributes", "elasticloadbalancing:RegisterTargets",
        "elasticloadbalancing:RemoveTags", "elasticloadbalancing:SetIpAddressType",
        "elasticloadbalancing:SetSecurityGroups", "elasticloadbalancing:SetSubnets",
      ]
      Resource  = ["${local._elb}:loadbalancer/app/*", "${local._elb}:targetgroup/*"]
      Condition = local._own
    }),
    # Listeners and rules have no name of their own to narrow by: only those of application load balancers.
    jsonencode({
      Sid    = "Listeners"
      Effect = "Allow"
      Action = [
        "elasticloadbalancing:AddListenerCertificates", "elasticloadbalancing:AddTags",
        "elasticloadbalancing:CreateListener", "elasticloadbalancing:CreateRule",
        "elasticloadbalancing:DeleteListener", "elasticloadbalancing:DeleteRule",
        "elasticloadbalancing:ModifyListener", "elasticloadbalancing:ModifyListenerAttributes",
        "elasticloadbalancing:ModifyRule", "elasticloadbalancing:RemoveListenerCertificates",
        "elasticloadbalancing:RemoveTags", "elasticloadbalancing:SetRulePriorities",
      ]
      Resource = [
        "${local._elb}:listener-rule/app/*", "${local._elb}:listener/app/*", "${local._elb}:loadbalancer/app/*",
      ]
    }),
  ]
}
