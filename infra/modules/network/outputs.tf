output "cidr" {
  description = "IPv4 range of the network."
  value       = aws_vpc.this.cidr_block
}

output "data_subnet_ids" {
  description = "Subnets without a way out, for databases, by zone."
  value       = { for zone, subnet in aws_subnet.data : zone => subnet.id }
  depends_on  = [aws_route_table_association.data]
}

output "private_subnet_ids" {
  description = "Subnets for nodes, by zone, usable once routes and endpoints are there."
  value       = { for zone, subnet in aws_subnet.private : zone => subnet.id }
  depends_on  = [aws_route.nat, aws_route_table_association.private, aws_vpc_endpoint.interface, aws_vpc_endpoint.s3]
}

output "public_subnet_ids" {
  description = "Subnets for load balancers, by zone."
  value       = { for zone, subnet in aws_subnet.public : zone => subnet.id }
  depends_on  = [aws_route.internet, aws_route_table_association.public]
}

output "vpc_id" {
  description = "Identifier of the network."
  value       = aws_vpc.this.id
}
