"""The service and its command line. Never imports torch, transformers, airflow or mlflow."""
