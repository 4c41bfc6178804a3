"""One DAG a file, named after its job. They state order and schedule; no file here imports a step."""
