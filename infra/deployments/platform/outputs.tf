output "buckets" {
  description = "Names of the buckets by purpose."
  value       = module.artifact_store.buckets
}

# `make infra-env` writes it to gitops/apps/adloom-api/overlays/<environment>/platform.env. ADLOOM_ names are fields of
# app/settings.py; the others are for the manifests.
output "platform_env" {
  description = "What gitops/ must know of the cloud."
  value = {
    ADLOOM_OBJECTS_URL   = "s3://${module.artifact_store.buckets["requests"]}"
    ALERT_TOPIC_ARN      = module.metrics.topic_arn
    AWS_REGION           = var.region
    BUNDLES_URL          = "s3://${module.artifact_store.buckets["artifacts"]}/bundles"
    CLUSTER_NAME         = data.terraform_remote_state.cluster.outputs.name
    DATABASE_ENDPOINT    = module.database.endpoint
    DATABASE_NAME        = module.database.name
    DATABASE_SECRET_ARN  = module.database.master_secret_arn
    MLFLOW_ARTIFACTS_URL = "s3://${module.artifact_store.buckets["mlflow"]}"
    PROMETHEUS_URL       = module.metrics.endpoint
    SECRETS_PREFIX       = "${local.name}/"
    VPC_ID               = data.terraform_remote_state.network.outputs.vpc_id
  }
}

output "policies" {
  description = "Policies of the service accounts' roles as written."
  value       = { for name, identity in module.workload_identity : name => identity.policy if identity.policy != null }
}

output "role_arns" {
  description = "Roles of the service accounts."
  value       = { for name, identity in module.workload_identity : name => identity.role_arn }
}
