alert_emails = ["on-call@example.com"]
log_days     = 365

audit_days           = 90
expire_after_days    = { "generations/" = 400 }
rollback_window_days = 90
superseded_days      = 180

database = {
  instance_class  = "db.m7g.large"
  multi_az        = true
  backup_days     = 35
  storage_gib     = 100
  storage_gib_max = 500
}

secrets = {
  "adloom-api/database-url" = "Address of the service's database with its own user; set by the migration procedure."
  "adloom-api/issuer-key"   = "Private key that signs the service's tokens; openssl ecparam -name prime256v1 -genkey."
  "adloom-api/limits-url"   = "Address of Redis with its password, where replicas count requests together."
  "airflow/fernet-key"      = "Encrypts connections in Airflow's database; python -m airflow's documentation says how."
  "mlflow/database-url"     = "Address of MLflow's database with its own user; set by the migration procedure."
}
