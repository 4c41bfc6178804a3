locals {
  _access = merge(
    { for name, arn in var.administrators : name => { arn = arn, policy = "AmazonEKSClusterAdminPolicy" } },
    { for name, arn in var.viewers : name => { arn = arn, policy = "AmazonEKSAdminViewPolicy" } },
  )
}

resource "aws_eks_access_entry" "this" {
  for_each = local._access

  cluster_name  = aws_eks_cluster.this.name
  principal_arn = each.value.arn
}

resource "aws_eks_access_policy_association" "this" {
  for_each = local._access

  cluster_name  = aws_eks_cluster.this.name
  principal_arn = each.value.arn
  policy_arn    = "arn:${data.aws_partition.current.partition}:eks::aws:cluster-access-policy/${each.value.policy}"

  access_scope {
    type = "cluster"
  }

  depends_on = [aws_eks_access_entry.this]
}
