variable "access_log_days" {
  description = "Days that the record of who asked for which object is kept."
  type        = number
  default     = 365

  validation {
    condition     = var.access_log_days >= 30
    error_message = "Keep access logs for 30 days at least: a leak is rarely noticed on the day it happens."
  }
}

variable "audit_days" {
  description = "Days during which nobody deletes a logged request (object lock in governance mode)."
  type        = number

  validation {
    condition     = var.audit_days >= 1
    error_message = "Lock request logs for 1 day at least: object lock cannot be added to a bucket that was made without."
  }
}

variable "expire_after_days" {
  description = "Days after which objects of a prefix of the requests bucket go, such as {\"generations/\" = 400}."
  type        = map(number)

  validation {
    condition     = alltrue([for prefix in keys(var.expire_after_days) : can(regex("^[a-z-]+/$", prefix))])
    error_message = "A prefix is one folder with its slash, such as generations/."
  }

  validation {
    condition     = alltrue([for days in values(var.expire_after_days) : days >= var.audit_days])
    error_message = "What audit_days locks cannot expire earlier: raise the days of the prefix, or lower audit_days."
  }
}

variable "name" {
  description = "What buckets and key are named after, as in adloom-dev; the account's number follows."
  type        = string

  validation {
    condition     = can(regex("^[a-z][a-z0-9-]{2,36}$", var.name))
    error_message = "Name it in kebab-case, 3 to 37 characters: a bucket's name has 63, and 26 of them are ours."
  }
}

variable "rollback_window_days" {
  description = "How far back a model must be restorable; superseded versions are kept for as long at least."
  type        = number
  default     = 30

  validation {
    condition     = var.rollback_window_days >= 7
    error_message = "Keep at least 7 days: rollback needs the previous champion."
  }
}

variable "superseded_days" {
  description = "Days that a version of an object is kept after another took its place."
  type        = number
  default     = 90

  validation {
    condition     = var.superseded_days >= var.rollback_window_days
    error_message = "superseded_days must be no less than rollback_window_days: a rollback would find its model deleted."
  }
}

variable "teardown" {
  description = "Whether a destroy may delete buckets that still hold objects, locked ones included."
  type        = bool
  default     = false
}
