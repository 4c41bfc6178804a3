output "cidr" {
  description = "IPv4 range of the network."
  value       = module.network.cidr
}

output "ci_role_arns" {
  description = "Roles that the workflow assumes: variables of the repository on GitHub."
  value       = module.ci_identity.role_arns
}

output "data_subnet_ids" {
  description = "Subnets for databases."
  value       = values(module.network.data_subnet_ids)
}

output "policies" {
  description = "Policies of CI's roles as written."
  value       = { for name, policy in module.ci_identity.policies : "ci-${name}" => policy }
}

output "private_subnet_ids" {
  description = "Subnets for nodes."
  value       = values(module.network.private_subnet_ids)
}

output "vpc_id" {
  description = "Identifier of the network."
  value       = module.network.vpc_id
}
