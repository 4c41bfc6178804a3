cidr           = "10.20.0.0/16"
reserved_cidrs = ["10.30.0.0/16", "10.40.0.0/16"]
zones          = ["eu-central-1a", "eu-central-1b", "eu-central-1c"]

repository    = "example/adloom"
budget_emails = ["platform@example.com"]

nat_per_zone        = false
interface_endpoints = ["ecr.api", "ecr.dkr"]
flow_log_days       = 30
monthly_usd         = 500
