variable "alert_emails" {
  description = "Addresses that are told of critical alerts and warnings."
  type        = set(string)

  validation {
    condition     = length(var.alert_emails) > 0 && alltrue([for each in var.alert_emails : can(regex("^[^@\\s]+@[^@\\s]+$", each))])
    error_message = "Name one mail address at least: an alert that reaches nobody is none."
  }
}

variable "alert_routes" {
  description = "Content of gitops/platform/alertmanager/routes.yaml; without it alerts are routed by severity alone."
  type        = string
  default     = null

  validation {
    condition     = var.alert_routes == null || can(yamldecode(var.alert_routes).route.routes[0].receiver) && can(yamldecode(var.alert_routes).inhibit_rules)
    error_message = "The routes must be YAML with a route, at least one route below it, and inhibit_rules."
  }
}

variable "log_days" {
  description = "Days that failures of rules and of deliveries are kept."
  type        = number
  default     = 365

  validation {
    condition     = contains([30, 60, 90, 120, 180, 365, 400, 545, 731, 1096], var.log_days)
    error_message = "CloudWatch Logs keeps 30, 60, 90, 120, 180, 365, 400, 545, 731 or 1096 days: choose one."
  }
}

variable "name" {
  description = "Alias of the workspace, as in adloom-dev."
  type        = string
}

variable "rule_files" {
  description = "Contents of Prometheus rule files, or of PrometheusRule manifests, by the app they watch."
  type        = map(string)

  validation {
    condition = alltrue([
      for content in values(var.rule_files) : length(try(yamldecode(content).spec.groups, yamldecode(content).groups, [])) > 0
    ])
    error_message = "Each rule file must be YAML with at least one group below groups, or below spec.groups of a PrometheusRule."
  }
}
