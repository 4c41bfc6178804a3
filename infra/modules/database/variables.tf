variable "backup_days" {
  description = "Days of backups, and how far back a point in time can be restored."
  type        = number

  validation {
    condition     = var.backup_days >= 7 && var.backup_days <= 35
    error_message = "Keep 7 to 35 days of backups: fewer do not outlast a holiday, and RDS takes no more."
  }
}

variable "client_security_groups" {
  description = "Security groups that may connect, by a name of your choice."
  type        = map(string)

  validation {
    condition     = length(var.client_security_groups) > 0
    error_message = "Name one security group at least, or nobody can connect to the database."
  }
}

variable "deletion_protection" {
  description = "Whether the database refuses to be deleted."
  type        = bool
  default     = true

  validation {
    condition     = var.deletion_protection || var.environment != "prod"
    error_message = "prod keeps its deletion protection; `make infra-destroy ENV=prod` lifts it when that is what you want."
  }
}

variable "engine_version" {
  description = "Major version of PostgreSQL, or major and minor."
  type        = string
  default     = "17"

  validation {
    condition     = can(regex("^1[5-9](\\.[0-9]+)?$", var.engine_version))
    error_message = "Take PostgreSQL 15 or later, as 17 or 17.4: the service is tested on nothing older."
  }
}

variable "environment" {
  description = "dev, staging or prod; prod may not do without a standby and deletion protection."
  type        = string
}

variable "instance_class" {
  description = "Size of the instance, such as db.t4g.medium."
  type        = string

  validation {
    condition     = can(regex("^db\\.[a-z0-9]+\\.[a-z0-9]+$", var.instance_class))
    error_message = "instance_class looks like db.t4g.medium."
  }
}

variable "log_days" {
  description = "Days that PostgreSQL's logs are kept."
  type        = number
  default     = 365

  validation {
    condition     = contains([30, 60, 90, 120, 180, 365, 400, 545, 731, 1096], var.log_days)
    error_message = "CloudWatch Logs keeps 30, 60, 90, 120, 180, 365, 400, 545, 731 or 1096 days: choose one."
  }
}

variable "multi_az" {
  description = "A standby in another zone that takes over by itself."
  type        = bool

  validation {
    condition     = var.multi_az || var.environment != "prod"
    error_message = "prod needs multi_az = true: without a standby, one zone that fails stops the service for as long as a restore takes."
  }
}

variable "name" {
  description = "Name of the instance, as in adloom-dev."
  type        = string
}

variable "storage_gib" {
  description = "Disk at the start."
  type        = number
  default     = 20

  validation {
    condition     = var.storage_gib >= 20
    error_message = "gp3 begins at 20 GiB: set storage_gib to 20 or more."
  }
}

variable "storage_gib_max" {
  description = "Up to where the disk grows by itself."
  type        = number
  default     = 100

  validation {
    condition     = var.storage_gib_max >= var.storage_gib * 1.26
    error_message = "storage_gib_max must be 26 % or more above storage_gib, or RDS does not grow the disk."
  }
}

variable "subnet_ids" {
  description = "Subnets without a way out, in three zones."
  type        = list(string)

  validation {
    condition     = length(distinct(var.subnet_ids)) >= 3
    error_message = "Give subnets of three zones, so that a standby has somewhere to go."
  }
}

variable "teardown" {
  description = "Lifts deletion protection and skips the final snapshot; true only right before a destroy."
  type        = bool
  default     = false
}

variable "vpc_id" {
  description = "Network of the subnets."
  type        = string
}
