kubernetes_version = "1.35"
log_days           = 365

administrators = { platform = "arn:aws:iam::123456789012:role/platform" }

node_groups = {
  service = { instance_types = ["m7i.xlarge"], nodes_min = 3, nodes_max = 12 }

  training = {
    instance_types = ["m7i.4xlarge"]
    nodes_min      = 0
    nodes_max      = 4
    disk_gib       = 200
    taints         = { "adloom.io/training" = "true" }
  }
}
