# moto takes Performance Insights and does not give it back, so that every plan would find it off.
resource "aws_db_instance" "this" {
  lifecycle {
    ignore_changes = [performance_insights_enabled, performance_insights_kms_key_id]
  }
}

# moto lists a group's parameters without their source, and the provider takes them for defaults.
resource "aws_db_parameter_group" "this" {
  lifecycle {
    ignore_changes = [parameter]
  }
}

# moto forgets the description of a rule that names a security group.
resource "aws_vpc_security_group_ingress_rule" "this" {
  lifecycle {
    ignore_changes = [description]
  }
}
