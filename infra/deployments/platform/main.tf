data "terraform_remote_state" "network" {
  backend = "s3"

  config = {
    bucket = var.state_bucket
    key    = "network.tfstate"
    region = var.region
  }
}

data "terraform_remote_state" "cluster" {
  backend = "s3"

  config = {
    bucket = var.state_bucket
    key    = "cluster.tfstate"
    region = var.region
  }
}

locals {
  _apps         = "${path.module}/../../../gitops/apps"
  _alertmanager = "${path.module}/../../../gitops/platform/alertmanager"
}

module "artifact_store" {
  source = "../../modules/artifact_store"

  name                 = local.name
  audit_days           = var.audit_days
  expire_after_days    = var.expire_after_days
  rollback_window_days = var.rollback_window_days
  superseded_days      = var.superseded_days
  teardown             = var.teardown
}

module "database" {
  source = "../../modules/database"

  name                   = local.name
  environment            = var.environment
  vpc_id                 = data.terraform_remote_state.network.outputs.vpc_id
  subnet_ids             = data.terraform_remote_state.network.outputs.data_subnet_ids
  client_security_groups = { cluster = data.terraform_remote_state.cluster.outputs.security_group_id }
  instance_class         = var.database.instance_class
  multi_az               = var.database.multi_az
  backup_days            = var.database.backup_days
  deletion_protection    = var.database.deletion_protection
  storage_gib            = var.database.storage_gib
  storage_gib_max        = var.database.storage_gib_max
  log_days               = var.log_days
  teardown               = var.teardown
}

module "metrics" {
  source = "../../modules/metrics"

  name         = local.name
  alert_emails = var.alert_emails
  alert_routes = one([for path in fileset(local._alertmanager, "routes.yaml") : file("${local._alertmanager}/${path}")])
  log_days     = var.log_days
  rule_files = {
    for path in fileset(local._apps, "*/monitoring/rules.yaml") : dirname(dirname(path)) => file("${local._apps}/${path}")
  }
}

module "secrets" {
  source = "../../modules/secrets"

  name     = local.name
  entries  = var.secrets
  teardown = var.teardown
}

module "workload_identity" {
  source   = "../../modules/workload_identity"
  for_each = local.workloads

  name             = local.name
  cluster_name     = data.terraform_remote_state.cluster.outputs.name
  namespace        = each.value.namespace
  service_account  = each.key
  access           = each.value.access
  managed_policies = try(each.value.managed_policies, [])
  statements       = try(each.value.statements, [])
}
