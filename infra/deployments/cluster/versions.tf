terraform {
  required_version = ">= 1.10, < 2.0"

  # Bucket, key and region come from the command: a backend block takes no variables.
  backend "s3" {
    encrypt      = true
    use_lockfile = true
  }

  required_providers {
    aws = {
      source  = "hashicorp/aws"
      version = "~> 5.100"
    }
  }
}

provider "aws" {
  region              = var.region
  allowed_account_ids = [var.account_id]

  default_tags {
    tags = {
      deployment  = "cluster"
      environment = var.environment
      managed-by  = "terraform"
      project     = var.project
    }
  }
}
