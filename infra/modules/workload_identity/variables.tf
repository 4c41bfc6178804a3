variable "access" {
  description = "What the service account may do, in ARNs. Objects are named by bucket and prefix, as in arn:aws:s3:::bucket/prefix/*."
  type = object({
    delete_objects = optional(list(string), [])
    list_buckets   = optional(list(string), [])
    object_keys    = optional(list(string), [])
    query_metrics  = optional(list(string), [])
    read_objects   = optional(list(string), [])
    read_secrets   = optional(list(string), [])
    secret_keys    = optional(list(string), [])
    write_metrics  = optional(list(string), [])
    write_objects  = optional(list(string), [])
  })

  validation {
    condition     = sum([for arns in values(var.access) : length(arns)]) + length(var.managed_policies) + length(var.statements) > 0
    error_message = "Grant something: a service account that may do nothing needs no role."
  }

  validation {
    condition     = alltrue([for arn in flatten(values(var.access)) : !contains(["*", "arn:aws:s3:::*"], arn)])
    error_message = "Name what is meant by its ARN: * is everything in the account."
  }

  validation {
    condition = (
      length(concat(var.access.read_objects, var.access.write_objects)) == 0 || length(var.access.object_keys) > 0
    )
    error_message = "Add the buckets' key to object_keys: S3 refuses an encrypted object to whoever may not use its key."
  }

  validation {
    condition     = length(var.access.read_secrets) == 0 || length(var.access.secret_keys) > 0
    error_message = "Add the secrets' key to secret_keys: Secrets Manager refuses a value to whoever may not use its key."
  }
}

variable "cluster_name" {
  description = "Cluster of the service account."
  type        = string
}

variable "managed_policies" {
  description = "Names of policies that AWS maintains, with their path, for add-ons of EKS alone."
  type        = set(string)
  default     = []

  validation {
    condition     = alltrue([for each in var.managed_policies : !contains(["AdministratorAccess", "PowerUserAccess"], each)])
    error_message = "No service account gets AdministratorAccess or PowerUserAccess: name what it needs."
  }
}

variable "name" {
  description = "First part of the role's name, as in adloom-dev; the service account follows."
  type        = string
}

variable "namespace" {
  description = "Namespace of the service account."
  type        = string
}

variable "service_account" {
  description = "Name of the service account."
  type        = string

  validation {
    condition     = can(regex("^[a-z0-9]([a-z0-9-]{0,38}[a-z0-9])?$", var.service_account))
    error_message = "A service account's name is in kebab-case, and at most 40 characters: the role is named after it."
  }
}

variable "statements" {
  description = "Further statements of its policy, each as JSON with a Sid: for a controller whose rights hang on tags."
  type        = list(string)
  default     = []

  validation {
    condition = alltrue([
      for each in var.statements : try(alltrue([for name in ["Sid", "Effect", "Action", "Resource"] : contains(keys(jsondecode(each)), name)]), false)
    ])
    error_message = "A statement is a JSON object with Sid, Effect, Action and Resource: jsonencode({ Sid = ... })."
  }

  validation {
    condition     = !anytrue([for each in var.statements : can(regex("\"Action\":(\\[[^]]*)?\"(\\*|[a-z0-9-]+:\\*)\"", each))])
    error_message = "Name the actions: no service account gets all of a service."
  }
}
