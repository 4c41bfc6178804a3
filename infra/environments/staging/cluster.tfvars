kubernetes_version = "1.35"
log_days           = 90

administrators = { platform = "arn:aws:iam::444455556666:role/platform" }

node_groups = {
  service = { instance_types = ["m7i.large"], nodes_min = 2, nodes_max = 6 }

  training = {
    instance_types = ["m7i.2xlarge"]
    nodes_min      = 0
    nodes_max      = 2
    capacity_type  = "SPOT"
    disk_gib       = 200
    taints         = { "adloom.io/training" = "true" }
  }
}
