variable "cidr" {
  description = "IPv4 range of the network. Cut into subnets by the module, so that they cannot overlap."
  type        = string

  validation {
    condition     = can(cidrhost(var.cidr, 0)) && try(cidrhost(var.cidr, 0) == split("/", var.cidr)[0], false)
    error_message = "cidr must be an IPv4 range written from its first address, such as 10.20.0.0/16."
  }

  validation {
    condition     = try(tonumber(split("/", var.cidr)[1]) >= 16 && tonumber(split("/", var.cidr)[1]) <= 20, false)
    error_message = "cidr must be a /16 to a /20: AWS takes no larger network, and in a smaller one pods run out of addresses."
  }

  validation {
    # Two ranges overlap where the longer one, cut to the length of the shorter, begins where the shorter does.
    condition = alltrue([
      for other in var.reserved_cidrs : try(
        tonumber(split("/", var.cidr)[1]) <= tonumber(split("/", other)[1])
        ? cidrhost("${split("/", other)[0]}/${split("/", var.cidr)[1]}", 0) != cidrhost(var.cidr, 0)
        : cidrhost("${split("/", var.cidr)[0]}/${split("/", other)[1]}", 0) != cidrhost(other, 0),
        false
      )
    ])
    error_message = "cidr overlaps one of reserved_cidrs, and no route can tell them apart: choose a range of its own."
  }
}

variable "flow_log_days" {
  description = "Days that the record of connections is kept."
  type        = number
  default     = 365

  validation {
    condition     = contains([30, 60, 90, 120, 180, 365, 400, 545, 731, 1096], var.flow_log_days)
    error_message = "CloudWatch Logs keeps 30, 60, 90, 120, 180, 365, 400, 545, 731 or 1096 days: choose one."
  }
}

variable "interface_endpoints" {
  description = "AWS services reached without leaving the network. Each costs by the hour and zone."
  type        = set(string)
  default     = ["ecr.api", "ecr.dkr", "eks-auth", "logs", "secretsmanager", "sts"]

  validation {
    condition     = length(setsubtract(["ecr.api", "ecr.dkr"], var.interface_endpoints)) == 0
    error_message = "Keep ecr.api and ecr.dkr: nodes pull the images of EKS itself from there."
  }
}

variable "name" {
  description = "What everything in the network is named after, as in adloom-dev."
  type        = string
}

variable "nat_per_zone" {
  description = "A NAT gateway in every zone, so that a zone that fails takes only its own way out with it."
  type        = bool
  default     = true
}

variable "reserved_cidrs" {
  description = "Ranges that must stay free: other environments, offices, what may be peered one day."
  type        = list(string)
  default     = []

  validation {
    condition     = alltrue([for each in var.reserved_cidrs : can(cidrhost(each, 0))])
    error_message = "Each of reserved_cidrs must be an IPv4 range such as 10.0.0.0/8."
  }
}

variable "zones" {
  description = "Three availability zones of the region."
  type        = list(string)

  validation {
    condition     = length(distinct(var.zones)) == 3 && length(var.zones) == 3
    error_message = "Name three different zones: with fewer, one that fails takes half of everything or all of it."
  }
}
