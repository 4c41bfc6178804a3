mock_provider "aws" {
  source = "../../mocks/aws"
}

variables {
  name         = "adloom-prod"
  environment  = "prod"
  repository   = "example/adloom"
  state_bucket = "adloom-prod-111122223333-state"
}

run "apply_is_bound_to_branch_and_environment" {
  command = apply

  assert {
    condition     = jsondecode(aws_iam_role.this["apply"].assume_role_policy).Statement[0].Condition.StringLike["token.actions.githubusercontent.com:sub"] == ["repo:example/adloom:environment:prod:ref:refs/heads/main"]
    error_message = "only a job of the environment, on the branch, may apply"
  }

  assert {
    condition     = !anytrue([for each in jsondecode(aws_iam_role.this["plan"].assume_role_policy).Statement[0].Condition.StringLike["token.actions.githubusercontent.com:sub"] : strcontains(each, "environment")])
    error_message = "a plan needs no approval, and gets no environment's rights"
  }
}

run "a_plan_changes_nothing_but_its_lock" {
  command = apply

  assert {
    condition = alltrue(flatten([
      for each in jsondecode(aws_iam_role_policy.this["plan"].policy).Statement : [
        for action in each.Action : can(regex(":(Describe|Get|List|View)", action)) || each.Resource == ["arn:aws:s3:::adloom-prod-111122223333-state/*.tflock"]
      ]
    ]))
    error_message = "the role that plans may look, and lock the state"
  }

  assert {
    condition     = !anytrue([for each in flatten([for s in jsondecode(aws_iam_role_policy.this["plan"].policy).Statement : s.Action]) : contains(["secretsmanager:GetSecretValue", "kms:Decrypt"], each)])
    error_message = "a plan reads no secret's value"
  }
}
