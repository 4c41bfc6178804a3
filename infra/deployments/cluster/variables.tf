variable "administrators" {
  description = "IAM roles that may do everything in the cluster."
  type        = map(string)
}

variable "kubernetes_version" {
  description = "Minor version of Kubernetes."
  type        = string
}

variable "log_days" {
  description = "Days that control-plane logs are kept."
  type        = number
}

variable "node_groups" {
  description = "Groups of nodes by name; modules/cluster says what each may hold."
  type        = any
}

variable "public_access_cidrs" {
  description = "Addresses that reach the Kubernetes API from the internet. Empty: only the network does."
  type        = list(string)
  default     = []

  validation {
    condition     = length(var.public_access_cidrs) == 0 || var.environment != "prod"
    error_message = "prod has no public endpoint: reach it through a VPN or a host in the network."
  }
}

variable "service_cidr" {
  description = "IPv4 range of Kubernetes services."
  type        = string
  default     = "172.20.0.0/16"
}

variable "viewers" {
  description = "IAM roles that may look at everything in the cluster."
  type        = map(string)
  default     = {}
}
