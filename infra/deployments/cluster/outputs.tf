output "certificate_authority" {
  description = "Certificate of the Kubernetes API, base64."
  value       = module.cluster.certificate_authority
}

output "endpoint" {
  description = "Address of the Kubernetes API."
  value       = module.cluster.endpoint
}

output "name" {
  description = "Name of the cluster."
  value       = module.cluster.name
}

output "security_group_id" {
  description = "Security group of every node."
  value       = module.cluster.security_group_id
}
