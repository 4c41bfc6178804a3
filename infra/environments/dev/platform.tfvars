alert_emails = ["on-call@example.com"]
log_days     = 30

audit_days           = 1
expire_after_days    = { "generations/" = 90 }
rollback_window_days = 14
superseded_days      = 30

database = {
  instance_class      = "db.t4g.medium"
  multi_az            = false
  backup_days         = 7
  deletion_protection = false
}

secrets = {
  "adloom-api/database-url" = "Address of the service's database with its own user; set by the migration procedure."
  "adloom-api/issuer-key"   = "Private key that signs the service's tokens; openssl ecparam -name prime256v1 -genkey."
  "adloom-api/limits-url"   = "Address of Redis with its password, where replicas count requests together."
  "airflow/fernet-key"      = "Encrypts connections in Airflow's database; python -m airflow's documentation says how."
  "mlflow/database-url"     = "Address of MLflow's database with its own user; set by the migration procedure."
}
