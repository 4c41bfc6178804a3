# The number is one that AWS uses in its documentation: put your own account's here.
account_id  = "111122223333"
environment = "dev"
region      = "eu-central-1"
