# Who runs in the cluster, and what each may touch. infra/roles.md is generated from what this comes to.
locals {
  _buckets  = module.artifact_store.bucket_arns
  _objects  = [module.artifact_store.key_arn]
  _requests = local._buckets["requests"]

  workloads = {
    # Writes what it was asked and what it answered, takes what clients send, and reads nothing that others have written
    # but bundles and drift reports.
    adloom-api = {
      namespace = "adloom"
      access = {
        list_buckets = [local._buckets["artifacts"], local._requests]
        read_objects = concat(
          ["${local._buckets["artifacts"]}/bundles/*", "${local._requests}/drift/reports/*"],
          [for folder in local.sent_folders : "${local._requests}/${folder}/*"],
        )
        write_objects = [for folder in concat(local.sent_folders, ["generations"]) : "${local._requests}/${folder}/*"]
        object_keys   = local._objects
      }
    }

    # Asks the object store how old its newest files are.
    adloom-exporter = {
      namespace = "adloom"
      access    = { list_buckets = [local._requests] }
    }

    # Reads the log and adds what batches wrote; what the service logged it cannot change.
    adloom-pipelines = {
      namespace = "adloom"
      access = {
        list_buckets = [for arn in values(local._buckets) : arn]
        read_objects = [for arn in values(local._buckets) : "${arn}/*"]
        write_objects = concat(
          [for folder in ["bundles", "datasets"] : "${local._buckets["artifacts"]}/${folder}/*"],
          [for folder in local.pipeline_folders : "${local._requests}/${folder}/*"],
          ["${local._requests}/generations/*/batch-*"],
        )
        delete_objects = ["${local._requests}/drift/reports/*"] # a quarter old: pipelines/drift/retention.py
        object_keys    = local._objects
        query_metrics  = [module.metrics.workspace_arn]
      }
    }

    # The tracking server hands artifacts through, so that nobody else needs the bucket.
    mlflow = {
      namespace = "mlflow"
      access = {
        list_buckets   = [local._buckets["mlflow"]]
        read_objects   = ["${local._buckets["mlflow"]}/*"]
        write_objects  = ["${local._buckets["mlflow"]}/*"]
        delete_objects = ["${local._buckets["mlflow"]}/*"]
        object_keys    = local._objects
      }
    }

    external-secrets = {
      namespace = "external-secrets"
      access = {
        read_secrets = concat(values(module.secrets.arns), [module.database.master_secret_arn])
        secret_keys  = [module.secrets.key_arn, module.database.key_arn]
      }
    }

    prometheus = {
      namespace = "monitoring"
      access    = { write_metrics = [module.metrics.workspace_arn] }
    }

    # Judges a canary by what Prometheus knows.
    argo-rollouts = {
      namespace = "argo-rollouts"
      access    = { query_metrics = [module.metrics.workspace_arn] }
    }

    # Draws what Managed Prometheus holds.
    grafana = {
      namespace = "monitoring"
      access    = { query_metrics = [module.metrics.workspace_arn] }
    }

    # Makes load balancers of Ingresses.
    aws-load-balancer-controller = {
      namespace  = "kube-system"
      access     = {}
      statements = local.load_balancer_statements
    }

    # The add-on that makes volumes; AWS changes its policy with its versions.
    ebs-csi-controller-sa = {
      namespace        = "kube-system"
      access           = {}
      managed_policies = ["service-role/AmazonEBSCSIDriverPolicy"]
    }
  }

  # What clients send, and app/ and model/store/ keep there; a test compares.
  sent_folders = ["catalogue", "pairs", "photographs"]

  # What pipelines/ puts into the bucket that ADLOOM_OBJECTS_URL names; a test compares.
  pipeline_folders = ["batches", "catalogue", "datasets", "drift", "features", "quality", "quarantine", "runs"]
}
