# moto 5.2 has no CreatePodIdentityAssociation: looked at in modules/workload_identity/tests instead.
resource "aws_eks_pod_identity_association" "this" {
  count = 0
}
