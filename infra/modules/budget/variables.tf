variable "emails" {
  description = "Addresses that are told."
  type        = set(string)

  validation {
    condition     = length(var.emails) > 0 && length(var.emails) <= 10
    error_message = "Name 1 to 10 mail addresses: AWS takes no more, and with none nobody hears of it."
  }
}

variable "monthly_usd" {
  description = "What the account may cost in a month, in US dollars."
  type        = number

  validation {
    condition     = var.monthly_usd > 0
    error_message = "Set monthly_usd above 0; infra/README.md says how to estimate it."
  }
}

variable "name" {
  description = "Name of the budget, as in adloom-dev."
  type        = string
}

variable "warn_at_percent" {
  description = "Shares of the budget that are reported when they have been spent."
  type        = list(number)
  default     = [50, 80, 100]

  validation {
    condition     = length(var.warn_at_percent) <= 4 && alltrue([for each in var.warn_at_percent : each > 0 && each <= 200])
    error_message = "Give at most 4 shares above 0 and up to 200 percent: AWS takes five notifications, and one is the forecast."
  }
}
