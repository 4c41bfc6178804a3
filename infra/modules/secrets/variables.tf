variable "entries" {
  description = "What each secret is for and who sets it, by its name below <name>/."
  type        = map(string)

  validation {
    condition     = alltrue([for each in keys(var.entries) : can(regex("^[a-z][a-z0-9-]*(/[a-z][a-z0-9-]*)?$", each))])
    error_message = "Name a secret app/thing in kebab-case, such as adloom-api/issuer-key."
  }

  validation {
    condition     = alltrue([for each in values(var.entries) : length(each) >= 10])
    error_message = "Say of each secret what it is for: in a year nobody will know."
  }
}

variable "name" {
  description = "First part of every secret's name, as in adloom-dev."
  type        = string
}

variable "recovery_days" {
  description = "Days during which a deleted secret can be restored."
  type        = number
  default     = 30

  validation {
    condition     = var.recovery_days >= 7 && var.recovery_days <= 30
    error_message = "Secrets Manager takes 7 to 30 days; teardown = true is the way to delete at once."
  }
}

variable "teardown" {
  description = "Deletes secrets at once, so that the next apply may use their names; true only right before a destroy."
  type        = bool
  default     = false
}
