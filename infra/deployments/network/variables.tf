variable "budget_emails" {
  description = "Who is told when money runs out."
  type        = set(string)
}

variable "cidr" {
  description = "IPv4 range of the environment's network."
  type        = string
}

variable "flow_log_days" {
  description = "Days that the record of connections is kept."
  type        = number
}

variable "interface_endpoints" {
  description = "AWS services reached without leaving the network."
  type        = set(string)
}

variable "monthly_usd" {
  description = "What the account may cost in a month, in US dollars."
  type        = number
}

variable "nat_per_zone" {
  description = "A NAT gateway in every zone, or one for all."
  type        = bool

  validation {
    condition     = var.nat_per_zone || var.environment != "prod"
    error_message = "prod needs nat_per_zone = true: with one gateway, its zone takes the way out of the others with it."
  }
}

variable "repository" {
  description = "Repository on GitHub whose workflows plan and apply, as owner/name."
  type        = string
}

variable "reserved_cidrs" {
  description = "Ranges of other environments and offices, which the network must not overlap."
  type        = list(string)
}

variable "zones" {
  description = "Three availability zones of the region."
  type        = list(string)

  validation {
    condition     = alltrue([for zone in var.zones : startswith(zone, var.region)])
    error_message = "Every zone must be of the region: with region eu-central-1 they are eu-central-1a and so on."
  }
}
