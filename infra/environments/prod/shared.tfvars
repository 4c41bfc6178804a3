# The number is one that AWS uses in its documentation: put your own account's here.
account_id  = "123456789012"
environment = "prod"
region      = "eu-central-1"
