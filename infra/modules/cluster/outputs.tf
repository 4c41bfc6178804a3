output "certificate_authority" {
  description = "Certificate of the Kubernetes API, base64."
  value       = aws_eks_cluster.this.certificate_authority[0].data
}

output "endpoint" {
  description = "Address of the Kubernetes API, usable once nodes and add-ons run and somebody may get in."
  value       = aws_eks_cluster.this.endpoint
  depends_on  = [aws_eks_access_policy_association.this, aws_eks_addon.this, aws_eks_node_group.this]
}

output "name" {
  description = "Name of the cluster."
  value       = aws_eks_cluster.this.name
}

output "security_group_id" {
  description = "Security group that EKS gives to every node of the cluster."
  value       = aws_eks_cluster.this.vpc_config[0].cluster_security_group_id
}
