variable "alert_emails" {
  description = "Who is told of critical alerts and warnings."
  type        = set(string)
}

variable "audit_days" {
  description = "Days during which nobody deletes a logged request."
  type        = number
}

variable "database" {
  description = "Size and safety of the database; modules/database says what each means."
  type = object({
    backup_days         = number
    instance_class      = string
    multi_az            = bool
    deletion_protection = optional(bool, true)
    storage_gib         = optional(number, 20)
    storage_gib_max     = optional(number, 100)
  })
}

variable "expire_after_days" {
  description = "Days after which objects of a folder of the requests bucket go."
  type        = map(number)
}

variable "log_days" {
  description = "Days that logs of database and metrics are kept."
  type        = number
}

variable "rollback_window_days" {
  description = "How far back a model must be restorable."
  type        = number
}

variable "secrets" {
  description = "Secrets that External Secrets reads, and what each is for. Values are set by people, not here."
  type        = map(string)
}

variable "superseded_days" {
  description = "Days that a version of an object is kept after another took its place."
  type        = number
}

variable "teardown" {
  description = "Lifts every protection against deletion; `make infra-destroy` sets it, and nothing else should."
  type        = bool
  default     = false
}
