variable "deletion_window_days" {
  description = "Days between the order to delete the key and the end of everything it encrypts."
  type        = number
  default     = 30

  validation {
    condition     = var.deletion_window_days >= 7 && var.deletion_window_days <= 30
    error_message = "KMS takes a window of 7 to 30 days: set deletion_window_days to one of them."
  }
}

variable "description" {
  description = "What the key encrypts, for whoever finds it in the console."
  type        = string
}

variable "logs" {
  description = "Whether CloudWatch Logs may use the key for log groups of this account and region."
  type        = bool
  default     = false
}

variable "name" {
  description = "Name of the alias, without its prefix alias/."
  type        = string

  validation {
    condition     = can(regex("^[a-z][a-z0-9-]{2,62}$", var.name)) && !startswith(var.name, "aws-")
    error_message = "Name the key in kebab-case, 3 to 63 characters, not beginning with aws-, which AWS keeps for itself."
  }
}

variable "services" {
  description = "AWS services (as in sns.amazonaws.com) that may use the key on behalf of this account."
  type        = list(string)
  default     = []

  validation {
    condition     = alltrue([for service in var.services : can(regex("^[a-z0-9.-]+\\.amazonaws\\.com$", service))])
    error_message = "A service is a principal such as sns.amazonaws.com."
  }
}
