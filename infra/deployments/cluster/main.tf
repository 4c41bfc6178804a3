data "terraform_remote_state" "network" {
  backend = "s3"

  config = {
    bucket = var.state_bucket
    key    = "network.tfstate"
    region = var.region
  }
}

module "cluster" {
  source = "../../modules/cluster"

  name                = local.name
  kubernetes_version  = var.kubernetes_version
  subnet_ids          = data.terraform_remote_state.network.outputs.private_subnet_ids
  vpc_cidr            = data.terraform_remote_state.network.outputs.cidr
  service_cidr        = var.service_cidr
  public_access_cidrs = var.public_access_cidrs
  administrators      = var.administrators
  viewers             = var.viewers
  node_groups         = var.node_groups
  log_days            = var.log_days
}
