mock_provider "aws" {
  source = "../../mocks/aws"
}

variables {
  name                   = "adloom-prod"
  environment            = "prod"
  vpc_id                 = "vpc-1"
  subnet_ids             = ["subnet-a", "subnet-b", "subnet-c"]
  client_security_groups = { cluster = "sg-1" }
  instance_class         = "db.m7g.large"
  multi_az               = true
  backup_days            = 35
}

run "a_database_that_survives_a_zone_and_a_mistake" {
  command = plan

  assert {
    condition     = aws_db_instance.this.multi_az && aws_db_instance.this.deletion_protection && !aws_db_instance.this.skip_final_snapshot
    error_message = "prod has a standby, refuses to be deleted and leaves a snapshot"
  }

  assert {
    condition     = aws_db_instance.this.backup_retention_period == 35 && aws_db_instance.this.storage_encrypted && !aws_db_instance.this.publicly_accessible
    error_message = "backups for 35 days, encrypted, in the network alone"
  }

  assert {
    condition     = aws_db_instance.this.manage_master_user_password && aws_db_instance.this.password == null
    error_message = "no password may be in the state"
  }

  assert {
    condition     = contains([for each in aws_db_parameter_group.this.parameter : "${each.name}=${each.value}"], "rds.force_ssl=1")
    error_message = "a connection without TLS must be refused"
  }

  assert {
    condition     = aws_vpc_security_group_ingress_rule.this["cluster"].from_port == 5432 && aws_vpc_security_group_ingress_rule.this["cluster"].cidr_ipv4 == null
    error_message = "nodes of the cluster may connect, and no address may"
  }
}

run "a_teardown_lifts_the_protection" {
  command = plan

  variables {
    teardown = true
  }

  assert {
    condition     = !aws_db_instance.this.deletion_protection && aws_db_instance.this.skip_final_snapshot
    error_message = "a teardown must be able to delete the database"
  }
}

run "dev_may_do_without" {
  command = plan

  variables {
    environment         = "dev"
    multi_az            = false
    deletion_protection = false
  }

  assert {
    condition     = !aws_db_instance.this.multi_az && !aws_db_instance.this.deletion_protection
    error_message = "dev may be cheap"
  }
}
