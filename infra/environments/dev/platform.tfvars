alert_emails = ["on-call@example.com"]
log_days     = 30

audit_days           = 1
expire_after_days    = { "generations/" = 90, "photographs/" = 90 }
rollback_window_days = 14
superseded_days      = 30

database = {
  instance_class      = "db.t4g.medium"
  multi_az            = false
  backup_days         = 7
  deletion_protection = false
}

secrets = {
  "adloom-api/canary-client"      = "JSON with client_id and client_secret of the canary's client; adloom client create canary --scope creatives:read --scope creatives:write."
  "adloom-api/database-url"       = "Address of the service's database with its own user; set by the migration procedure."
  "adloom-api/issuer-key"         = "Private key that signs the service's tokens; openssl ecparam -name prime256v1 -genkey."
  "adloom-api/limits-url"         = "Address of Redis with its password, where replicas count requests together."
  "adloom-exporter/gitops-token"  = "Token that reads the GitOps repository, and nothing else."
  "adloom-pipelines/gitops-token" = "Token that pushes to the GitOps repository."
  "adloom-pipelines/hook-token"   = "What Alertmanager shows to the retrain hook; openssl rand -hex 32."
  "airflow/api-secret-key"        = "Signs the sessions of Airflow's pages; openssl rand -hex 32."
  "airflow/database-url"          = "Address of Airflow's database, as postgresql+psycopg://; set by the migration procedure."
  "airflow/fernet-key"            = "Encrypts connections in Airflow's database; python -m airflow's documentation says how."
  "airflow/jwt-secret"            = "Signs what Airflow's parts tell each other; openssl rand -hex 32."
  "argocd/chat-webhook-url"       = "Address that notifications of deploys are posted to."
  "grafana/admin"                 = "JSON with user and password of Grafana's first administrator."
  "mlflow/database-url"           = "Address of MLflow's database with its own user; set by the migration procedure."
}
