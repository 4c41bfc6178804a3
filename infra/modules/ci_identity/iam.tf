locals {
  # Reads what Terraform compares with its state. No object of a bucket but the state, and no secret's value.
  _plan = [
    {
      Sid    = "LookAtWhatIsThere"
      Effect = "Allow"
      Action = [
        "aps:Describe*", "aps:List*",
        "budgets:ListTagsForResource", "budgets:ViewBudget",
        "ec2:Describe*",
        "eks:Describe*", "eks:List*",
        "iam:GetOpenIDConnectProvider", "iam:GetRole", "iam:GetRolePolicy", "iam:List*",
        "kms:DescribeKey", "kms:GetKeyPolicy", "kms:GetKeyRotationStatus", "kms:ListAliases", "kms:ListResourceTags",
        "logs:Describe*", "logs:ListTagsForResource",
        "rds:Describe*", "rds:ListTagsForResource",
        "s3:GetAccelerateConfiguration", "s3:GetBucket*", "s3:GetEncryptionConfiguration",
        "s3:GetLifecycleConfiguration", "s3:GetReplicationConfiguration", "s3:ListBucket",
        "secretsmanager:DescribeSecret", "secretsmanager:GetResourcePolicy",
        "sns:GetSubscriptionAttributes", "sns:GetTopicAttributes", "sns:ListTagsForResource",
        "sts:GetCallerIdentity",
      ]
      Resource = ["*"]
    },
    {
      Sid      = "ReadState"
      Effect   = "Allow"
      Action   = ["s3:GetObject"]
      Resource = ["${local._state}/*.tfstate"]
    },
    {
      Sid      = "LockState"
      Effect   = "Allow"
      Action   = ["s3:DeleteObject", "s3:GetObject", "s3:PutObject"]
      Resource = ["${local._state}/*.tflock"]
    },
  ]

  # Builds and removes. Within these services it may do everything: what it makes has no ARN before it is made. IAM is
  # held to roles of our own name, and its own two roles it may not touch: a merge must not widen who may merge.
  _apply = [
    {
      Sid    = "BuildTheServicesWeUse"
      Effect = "Allow"
      Action = [
        "aps:*", "budgets:*", "ec2:*", "eks:*", "kms:*", "logs:*", "rds:*", "s3:*", "secretsmanager:*", "sns:*",
        "sts:GetCallerIdentity",
      ]
      Resource = ["*"]
    },
    {
      Sid    = "RolesOfOurName"
      Effect = "Allow"
      Action = [
        "iam:AttachRolePolicy", "iam:CreateRole", "iam:DeleteRole", "iam:DeleteRolePolicy", "iam:DetachRolePolicy",
        "iam:GetRole", "iam:GetRolePolicy", "iam:ListAttachedRolePolicies", "iam:ListInstanceProfilesForRole",
        "iam:ListRolePolicies", "iam:PassRole", "iam:PutRolePolicy", "iam:TagRole", "iam:UntagRole",
        "iam:UpdateAssumeRolePolicy", "iam:UpdateRole", "iam:UpdateRoleDescription",
      ]
      Resource = ["${local._iam}:role/${var.name}-*"]
    },
    {
      Sid      = "LookAtTheProvider"
      Effect   = "Allow"
      Action   = ["iam:GetOpenIDConnectProvider"]
      Resource = ["${local._iam}:oidc-provider/${local._issuer}"]
    },
    {
      Sid      = "RolesThatAwsServicesMakeForThemselves"
      Effect   = "Allow"
      Action   = ["iam:CreateServiceLinkedRole"]
      Resource = ["${local._iam}:role/aws-service-role/*"]
    },
    {
      Sid    = "NotItsOwnRights"
      Effect = "Deny"
      Action = [
        "iam:AttachRolePolicy", "iam:DeleteRolePolicy", "iam:DetachRolePolicy", "iam:PutRolePolicy",
        "iam:UpdateAssumeRolePolicy",
      ]
      Resource = ["${local._iam}:role/${var.name}-ci-*"]
    },
  ]
}

resource "aws_iam_role_policy" "this" {
  #checkov:skip=CKV_AWS_287:the role that applies builds services whose resources have no ARN before they are made
  #checkov:skip=CKV_AWS_288:as above; it is bound to one branch and to an environment with an approval
  #checkov:skip=CKV_AWS_289:as above; IAM is held to roles of our own name, and its own roles are denied
  #checkov:skip=CKV_AWS_290:as above
  #checkov:skip=CKV_AWS_355:as above; and the role that plans looks with Describe and List, most of which take no resource

  for_each = { plan = local._plan, apply = local._apply }

  name = each.key
  role = aws_iam_role.this[each.key].id

  policy = jsonencode({ Version = "2012-10-17", Statement = each.value })
}
