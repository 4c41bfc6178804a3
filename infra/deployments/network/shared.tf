# The same in every deployment, from environments/<environment>/shared.tfvars; a test compares the copies.
locals {
  name = "${var.project}-${var.environment}"
}

variable "account_id" {
  description = "AWS account of the environment; an apply with the credentials of another is refused."
  type        = string

  validation {
    condition     = can(regex("^[0-9]{12}$", var.account_id))
    error_message = "account_id is the account's 12 digits, in quotes."
  }
}

variable "environment" {
  description = "dev, staging or prod."
  type        = string

  validation {
    condition     = contains(["dev", "staging", "prod"], var.environment)
    error_message = "environment is dev, staging or prod."
  }
}

variable "project" {
  description = "First part of every name."
  type        = string
  default     = "adloom"

  validation {
    condition     = can(regex("^[a-z][a-z0-9-]{1,20}$", var.project))
    error_message = "Name the project in kebab-case, 2 to 21 characters: roles and buckets are named after it."
  }
}

variable "region" {
  description = "AWS region of the environment."
  type        = string

  validation {
    condition     = can(regex("^[a-z]{2}(-[a-z]+)+-[0-9]$", var.region))
    error_message = "region looks like eu-central-1."
  }
}

variable "state_bucket" {
  description = "Bucket of Terraform's state; the command that runs Terraform passes it."
  type        = string
}
