mock_provider "aws" {
  source = "../../mocks/aws"
}

variables {
  name         = "adloom-dev"
  alert_emails = ["on-call@example.com"]
  rule_files = {
    adloom-api = <<-YAML
      groups:
        - name: one
          rules: [{alert: AdloomUp, expr: "up == 1"}]
    YAML
  }
}

run "rules_and_routes_are_loaded" {
  command = apply

  assert {
    condition     = yamldecode(aws_prometheus_rule_group_namespace.this["adloom-api"].data).groups[0].rules[0].alert == "AdloomUp"
    error_message = "the rule file's groups must be the namespace's"
  }

  assert {
    condition = [
      for each in yamldecode(yamldecode(aws_prometheus_alert_manager_definition.this.definition).alertmanager_config).receivers :
      each.name if try(each.sns_configs[0].topic_arn, "") == aws_sns_topic.this.arn
    ] == ["pager", "tickets"]
    error_message = "critical alerts and warnings must go to the topic, and information to nobody"
  }

  assert {
    condition     = [for each in yamldecode(yamldecode(aws_prometheus_alert_manager_definition.this.definition).alertmanager_config).route.routes : each.matchers[0]] == ["severity=\"critical\"", "severity=\"warning\"", "severity=\"info\""]
    error_message = "without a tree alerts are routed by severity"
  }
}

run "the_tree_of_gitops_is_taken_as_it_is" {
  command = apply

  variables {
    alert_routes = <<-YAML
      route:
        receiver: tickets
        group_by: [alertname]
        routes:
          - {receiver: retrain-hook, matchers: ['alertname="X"'], continue: true}
          - {receiver: pager, matchers: ['severity="critical"']}
      inhibit_rules:
        - {source_matchers: ['alertname="A"'], target_matchers: ['alertname="B"'], equal: [dag]}
    YAML
  }

  assert {
    condition     = jsonencode(yamldecode(yamldecode(aws_prometheus_alert_manager_definition.this.definition).alertmanager_config).route) == jsonencode(yamldecode(var.alert_routes).route)
    error_message = "the route must be the tree's"
  }

  assert {
    condition     = yamldecode(yamldecode(aws_prometheus_alert_manager_definition.this.definition).alertmanager_config).inhibit_rules[0].equal == ["dag"]
    error_message = "the inhibitions must be the tree's"
  }

  assert {
    condition = {
      for each in yamldecode(yamldecode(aws_prometheus_alert_manager_definition.this.definition).alertmanager_config).receivers :
      each.name => length(try(each.sns_configs, []))
    } == { pager = 1, retrain-hook = 0, tickets = 1 }
    error_message = "people are told through the topic, and the hook from within the cluster"
  }
}

run "a_prometheus_rule_manifest_will_do" {
  command = apply

  variables {
    rule_files = {
      adloom-api = <<-YAML
        kind: PrometheusRule
        spec:
          groups:
            - name: two
              rules: [{alert: AdloomDown, expr: "up == 0"}]
      YAML
    }
  }

  assert {
    condition     = yamldecode(aws_prometheus_rule_group_namespace.this["adloom-api"].data).groups[0].name == "two"
    error_message = "the groups below spec must be the namespace's"
  }
}

run "no_rules_yet" {
  command = plan

  variables {
    rule_files = {}
  }

  assert {
    condition     = length(aws_prometheus_rule_group_namespace.this) == 0
    error_message = "a workspace without rules is one"
  }
}
