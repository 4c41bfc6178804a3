# moto 5.2 has no CreateAddon, no access entries and no associations: looked at in modules/cluster/tests instead.
resource "aws_eks_addon" "this" {
  for_each = {}
}

resource "aws_eks_access_entry" "this" {
  for_each = {}
}

resource "aws_eks_access_policy_association" "this" {
  for_each = {}
}

# moto takes these and does not give them back, so that every plan would find them changed.
resource "aws_eks_cluster" "this" {
  lifecycle {
    ignore_changes = [access_config, kubernetes_network_config, upgrade_policy, vpc_config]
  }
}

# moto answers with an SSH key that nobody asked for, and without what was asked for.
resource "aws_eks_node_group" "this" {
  lifecycle {
    ignore_changes = [launch_template, remote_access, scaling_config[0].desired_size, update_config]
  }
}

# moto gives back the template's own tags as tags of what it starts.
resource "aws_launch_template" "this" {
  lifecycle {
    ignore_changes = [tag_specifications]
  }
}

output "security_group_id" {
  value = aws_security_group.nodes.id
}
