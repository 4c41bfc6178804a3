variable "branch" {
  description = "Branch whose pushes may apply."
  type        = string
  default     = "main"

  validation {
    condition     = can(regex("^[A-Za-z0-9._/-]+$", var.branch))
    error_message = "Name one branch, without * or ?: a pattern would let other branches apply."
  }
}

variable "environment" {
  description = "GitHub environment whose approval an apply needs."
  type        = string
}

variable "name" {
  description = "First part of the roles' names, as in adloom-dev; -ci-plan and -ci-apply follow."
  type        = string
}

variable "repository" {
  description = "Repository on GitHub, as owner/name."
  type        = string

  validation {
    condition     = can(regex("^[A-Za-z0-9-]+/[A-Za-z0-9._-]+$", var.repository))
    error_message = "repository is owner/name, without * or ?: a pattern would let other repositories in."
  }
}

variable "state_bucket" {
  description = "Bucket of Terraform's state, which the plan may read and whose lock it may take."
  type        = string
}
