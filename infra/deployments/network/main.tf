# What the account has one of and what everything else stands on. CI's roles are here because the network is the first
# to come and the last to go.
module "network" {
  source = "../../modules/network"

  name                = local.name
  cidr                = var.cidr
  zones               = var.zones
  reserved_cidrs      = var.reserved_cidrs
  nat_per_zone        = var.nat_per_zone
  interface_endpoints = var.interface_endpoints
  flow_log_days       = var.flow_log_days
}

module "ci_identity" {
  source = "../../modules/ci_identity"

  name         = local.name
  environment  = var.environment
  repository   = var.repository
  state_bucket = var.state_bucket
}

module "budget" {
  source = "../../modules/budget"

  name        = local.name
  monthly_usd = var.monthly_usd
  emails      = var.budget_emails
}
