variable "addons" {
  description = "EKS add-ons with their versions; null takes the default of the Kubernetes version."
  type        = map(string)
  default = {
    aws-ebs-csi-driver     = null
    coredns                = null
    eks-pod-identity-agent = null
    kube-proxy             = null
    metrics-server         = null
    vpc-cni                = null
  }

  validation {
    condition     = length(setsubtract(["coredns", "eks-pod-identity-agent", "kube-proxy", "vpc-cni"], keys(var.addons))) == 0
    error_message = "Keep coredns, eks-pod-identity-agent, kube-proxy and vpc-cni: without one of them no pod works."
  }
}

variable "administrators" {
  description = "IAM roles that may do everything in the cluster, by a name of your choice."
  type        = map(string)

  validation {
    condition     = length(var.administrators) > 0
    error_message = "Name one administrator at least: whoever creates the cluster is none, and nobody could get in."
  }

  validation {
    condition     = alltrue([for arn in values(var.administrators) : can(regex("^arn:aws[a-z-]*:iam::[0-9]{12}:role/", arn))])
    error_message = "An administrator is the ARN of an IAM role, such as arn:aws:iam::111122223333:role/platform."
  }
}

variable "kubernetes_version" {
  description = "Minor version of Kubernetes. AWS supports each for 14 months."
  type        = string

  validation {
    condition     = can(regex("^1\\.(3[5-9]|[4-9][0-9])$", var.kubernetes_version))
    error_message = "Take 1.35 or later: standard support of 1.34 ends on 2026-12-02, and what is older costs six times as much."
  }
}

variable "log_days" {
  description = "Days that control-plane logs are kept, audit included."
  type        = number
  default     = 365

  validation {
    condition     = contains([30, 60, 90, 120, 180, 365, 400, 545, 731, 1096], var.log_days)
    error_message = "CloudWatch Logs keeps 30, 60, 90, 120, 180, 365, 400, 545, 731 or 1096 days: choose one."
  }
}

variable "name" {
  description = "Name of the cluster, as in adloom-dev."
  type        = string

  validation {
    condition     = can(regex("^[a-z][a-z0-9-]{2,39}$", var.name))
    error_message = "Name the cluster in kebab-case, 3 to 40 characters: IAM roles are named after it and take 64."
  }
}

variable "node_groups" {
  description = "Groups of nodes by name: their size, and the taints that keep other pods away."
  type = map(object({
    instance_types = list(string)
    nodes_max      = number
    nodes_min      = number
    ami_type       = optional(string, "AL2023_x86_64_STANDARD")
    capacity_type  = optional(string, "ON_DEMAND")
    disk_gib       = optional(number, 50)
    labels         = optional(map(string), {})
    taints         = optional(map(string), {})
  }))

  validation {
    condition     = alltrue([for group in var.node_groups : group.nodes_min >= 0 && group.nodes_max >= max(group.nodes_min, 1)])
    error_message = "Each group needs nodes_min of 0 or more, and nodes_max of 1 or more and no less than nodes_min."
  }

  validation {
    condition     = anytrue([for group in var.node_groups : length(group.taints) == 0 && group.nodes_min > 0])
    error_message = "One group must be without taints and never empty: CoreDNS and Argo CD have nowhere to run otherwise."
  }

  validation {
    condition     = alltrue([for group in var.node_groups : contains(["ON_DEMAND", "SPOT"], group.capacity_type)])
    error_message = "capacity_type is ON_DEMAND or SPOT."
  }

  validation {
    condition     = alltrue([for group in var.node_groups : group.disk_gib >= 20])
    error_message = "Give nodes 20 GiB of disk at least: images with a model are large."
  }
}

variable "public_access_cidrs" {
  description = "Addresses that reach the Kubernetes API from the internet. Empty: only the network does."
  type        = list(string)
  default     = []

  validation {
    condition     = alltrue([for each in var.public_access_cidrs : can(cidrhost(each, 0)) && try(tonumber(split("/", each)[1]) >= 16, false)])
    error_message = "Name the ranges of your offices or VPN, /16 or smaller; the whole internet is not one of them."
  }
}

variable "service_cidr" {
  description = "IPv4 range of Kubernetes services; exists in the cluster alone."
  type        = string
  default     = "172.20.0.0/16"

  validation {
    condition     = can(cidrhost(var.service_cidr, 0)) && try(tonumber(split("/", var.service_cidr)[1]) >= 12 && tonumber(split("/", var.service_cidr)[1]) <= 24, false)
    error_message = "service_cidr must be an IPv4 range of /12 to /24, such as 172.20.0.0/16."
  }

  validation {
    # As in the network's own check: cut the longer to the length of the shorter and compare where they begin.
    condition = try(
      tonumber(split("/", var.service_cidr)[1]) <= tonumber(split("/", var.vpc_cidr)[1])
      ? cidrhost("${split("/", var.vpc_cidr)[0]}/${split("/", var.service_cidr)[1]}", 0) != cidrhost(var.service_cidr, 0)
      : cidrhost("${split("/", var.service_cidr)[0]}/${split("/", var.vpc_cidr)[1]}", 0) != cidrhost(var.vpc_cidr, 0),
      false
    )
    error_message = "service_cidr overlaps the network: pods could not tell a service from a node. Choose another range."
  }
}

variable "subnet_ids" {
  description = "Private subnets for nodes and for the control plane's interfaces, in three zones."
  type        = list(string)

  validation {
    condition     = length(distinct(var.subnet_ids)) >= 3
    error_message = "Give subnets of three zones: nodes of one group are spread over them."
  }
}

variable "viewers" {
  description = "IAM roles that may look at everything in the cluster, by a name of your choice."
  type        = map(string)
  default     = {}
}

variable "vpc_cidr" {
  description = "IPv4 range of the network, to compare service_cidr with."
  type        = string
}
