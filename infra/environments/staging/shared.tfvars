# The number is one that AWS uses in its documentation: put your own account's here.
account_id  = "444455556666"
environment = "staging"
region      = "eu-central-1"
