# EKS makes a security group for the nodes, and moto does not: this one stands in for it.
resource "aws_security_group" "nodes" {
  name   = "${var.name}-nodes"
  vpc_id = data.aws_subnet.first.vpc_id
}

data "aws_subnet" "first" {
  id = var.subnet_ids[0]
}
