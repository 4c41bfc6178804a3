"""What Argo CD is handed: pins, rights, order, and that every application lies within its project's rights."""

from __future__ import annotations

import re

import pytest
import yaml

from tests.gitops.rendering import APPS, ENVIRONMENTS, GITOPS, env_file, environment_objects, only, render
from tests.gitops.schemas import custom_troubles, is_custom

REPOSITORY = "https://github.com/adloom/adloom.git"
EXACT = re.compile(r"v?\d+\.\d+\.\d+")
CLASSES = {"dev": "non-prod", "staging": "non-prod", "prod": "prod"}


def bootstrap(environment: str) -> list[dict]:
    return render(f"gitops/bootstrap/{environment}")


def platform(environment: str) -> list[dict]:
    return render(f"gitops/platform/overlays/{environment}/core")


def applications(environment: str) -> list[dict]:
    return [each for each in bootstrap(environment) + platform(environment) if each["kind"] == "Application"]


def charts(environment: str) -> dict[str, dict]:
    """Source by application, of those that come as a chart."""
    return {
        each["metadata"]["name"]: source
        for each in applications(environment)
        for source in _sources(each)
        if "chart" in source
    }


def values(environment: str, name: str) -> dict:
    return charts(environment)[name]["helm"]["valuesObject"]


def wave(each: dict) -> int:
    return int(each["metadata"].get("annotations", {}).get("argocd.argoproj.io/sync-wave", 0))


def group(each: dict) -> str:
    return each["apiVersion"].rpartition("/")[0]


def _sources(application: dict) -> list[dict]:
    return application["spec"].get("sources") or [application["spec"]["source"]]


@pytest.mark.parametrize("environment", ENVIRONMENTS)
def test_every_object_is_what_its_controller_takes(environment, crd_schemas):
    every = bootstrap(environment) + platform(environment) + render("gitops/platform")
    troubles = {
        f"{each['kind']}/{each['metadata']['name']}": custom_troubles(each, crd_schemas)
        for each in every
        if is_custom(each)
    }

    assert {"AppProject/adloom", "ApplicationSet/apps", "ClusterSecretStore/secrets-manager"} <= set(troubles)
    assert {name: found for name, found in troubles.items() if found} == {}


def test_argo_cd_itself_is_pinned_by_commit_and_by_digest_of_the_same_release():
    text = (GITOPS / "bootstrap/argocd/kustomization.yaml").read_text(encoding="utf-8")
    table = yaml.safe_load(text)
    (remote,) = [each for each in table["resources"] if "://" in each]
    (image,) = table["images"]

    assert re.fullmatch(r"https://github\.com/argoproj/argo-cd//manifests/cluster-install\?ref=[0-9a-f]{40}", remote)
    assert re.fullmatch("sha256:[0-9a-f]{64}", image["digest"])
    assert len(set(re.findall(r"# (v3\.\d+\.\d+)$", text, flags=re.MULTILINE))) == 1
    assert len(re.findall(r"# v3\.", text)) == 2


def test_argo_cd_waits_for_children_and_lets_nobody_in_by_a_shared_password():
    settings = yaml.safe_load((GITOPS / "bootstrap/argocd/settings.yaml").read_text(encoding="utf-8"))["data"]

    assert settings["admin.enabled"] == "false"
    assert "obj.status.health.status" in settings["resource.customizations.health.argoproj.io_Application"]


@pytest.mark.parametrize("environment", ENVIRONMENTS)
def test_every_chart_has_an_exact_version_and_ours_come_from_this_repository(environment):
    for name, source in charts(environment).items():
        assert EXACT.fullmatch(source["targetRevision"]), name
    for application in applications(environment):
        for source in _sources(application):
            if "chart" not in source:
                assert source["repoURL"] == REPOSITORY
                assert (GITOPS.parent / source["path"] / "kustomization.yaml").is_file(), source["path"]


def test_environments_differ_in_no_chart_and_no_version():
    pins = [
        {name: (source["repoURL"], source["chart"], source["targetRevision"]) for name, source in charts(each).items()}
        for each in ENVIRONMENTS
    ]

    assert pins[0] == pins[1] == pins[2]
    assert len(pins[0]) == 8


@pytest.mark.parametrize("environment", ENVIRONMENTS)
def test_every_application_heals_prunes_and_tries_again_with_patience(environment):
    specs = [each["spec"] for each in applications(environment)]
    specs.append(only(bootstrap(environment), "ApplicationSet", "apps")["spec"]["template"]["spec"])
    for spec in specs:
        policy = spec["syncPolicy"]

        assert (policy["automated"]["prune"], policy["automated"]["selfHeal"]) == (True, True)
        assert policy["retry"] == {"limit": 5, "backoff": {"duration": "20s", "factor": 2, "maxDuration": "5m"}}
        assert "ServerSideApply=true" in policy["syncOptions"]


@pytest.mark.parametrize("environment", ENVIRONMENTS)
def test_no_application_goes_beyond_its_project(environment):
    for application in applications(environment):
        spec = application["spec"]
        project = only(bootstrap(environment), "AppProject", spec["project"])["spec"]

        assert spec["destination"] in project["destinations"], application["metadata"]["name"]
        assert {source["repoURL"] for source in _sources(application)} <= set(project["sourceRepos"])
    projects = [each for each in bootstrap(environment) if each["kind"] == "AppProject"]
    assert {each["metadata"]["name"] for each in projects} == {"root", "platform", "adloom"}
    for project in projects:
        assert "*" not in str(project["spec"]["sourceRepos"] + project["spec"]["destinations"])
        assert not any("*" in row.values() for row in project["spec"]["clusterResourceWhitelist"])


@pytest.mark.parametrize("environment", ENVIRONMENTS)
def test_our_project_allows_what_the_overlays_render_and_nothing_more(environment):
    project = only(bootstrap(environment), "AppProject", "adloom")["spec"]
    allowed = {(row["group"], row["kind"]) for row in project["clusterResourceWhitelist"]}
    allowed |= {(row["group"], row["kind"]) for row in project["namespaceResourceWhitelist"]}
    local = "config.kubernetes.io/local-config"
    ours = [each for each in environment_objects(environment) if local not in each["metadata"].get("annotations", {})]
    rendered = {(group(each), each["kind"]) for each in ours}
    namespaces = {each["metadata"]["namespace"] for each in ours if "namespace" in each["metadata"]}

    assert rendered <= allowed
    if environment == "prod":
        assert allowed <= rendered
    assert namespaces <= {each["namespace"] for each in project["destinations"]}


@pytest.mark.parametrize("environment", ENVIRONMENTS)
def test_what_the_platform_renders_itself_is_allowed_to_it(environment):
    project = only(bootstrap(environment), "AppProject", "platform")["spec"]
    cluster = {(row["group"], row["kind"]) for row in project["clusterResourceWhitelist"]}
    namespaces = {each["namespace"] for each in project["destinations"]}
    for each in [*platform(environment), *render("gitops/platform"), *render("gitops/platform/airflow/secrets")]:
        if "namespace" in each["metadata"]:
            assert each["metadata"]["namespace"] in namespaces
        elif each["kind"] != "Application":
            assert (group(each), each["kind"]) in cluster


@pytest.mark.parametrize("environment", ENVIRONMENTS)
def test_the_cluster_says_which_environment_it_is_and_the_set_finds_its_applications(environment):
    every = bootstrap(environment)
    labels = only(every, "Secret", "in-cluster")["metadata"]["labels"]
    spec = only(every, "ApplicationSet", "apps")["spec"]
    clusters, git = spec["generators"][0]["matrix"]["generators"]
    chosen = clusters["clusters"]["selector"]["matchLabels"]
    (directory,) = git["git"]["directories"]
    path = directory["path"].replace('{{ index .metadata.labels "adloom.io/environment" }}', environment)
    folders = sorted(GITOPS.parent.glob(path))

    assert labels.items() >= chosen.items()
    assert labels["adloom.io/class"] == CLASSES[environment]
    assert [folder.parent.parent.name for folder in folders] == sorted(
        each.name for each in APPS.iterdir() if (each / "overlays" / environment).is_dir()
    )
    assert "{{" not in path
    assert spec["goTemplateOptions"] == ["missingkey=error"]
    assert spec["template"]["metadata"]["name"] == "{{ index .path.segments 2 }}"


@pytest.mark.parametrize("environment", ENVIRONMENTS)
def test_the_root_leads_to_its_own_folder_and_the_platform_to_its_own(environment):
    paths = {each["metadata"]["name"]: _sources(each)[0].get("path") for each in applications(environment)}

    assert paths["root"] == f"gitops/bootstrap/{environment}"
    assert paths["platform"] == f"gitops/platform/overlays/{environment}/core"


def test_projects_come_before_applications_operators_before_what_needs_them():
    every = {each["metadata"]["name"]: wave(each) for each in bootstrap("prod") if each["kind"] != "AppProject"}
    projects = {wave(each) for each in bootstrap("prod") if each["kind"] == "AppProject"}
    parts = {f"{each['kind']}/{each['metadata']['name']}": wave(each) for each in platform("prod")}

    assert max(projects) < every["in-cluster"] < every["platform"] < every["apps"] < every["airflow"]
    assert parts["Application/external-secrets"] < parts["ClusterSecretStore/secrets-manager"]
    assert parts["ClusterSecretStore/secrets-manager"] < parts["ExternalSecret/grafana-admin"]
    assert parts["ExternalSecret/grafana-admin"] < parts["Application/grafana"]
    assert parts["Application/prometheus"] < parts["Application/monitoring-config"] < parts["Application/grafana"]


def test_git_and_the_autoscaler_do_not_fight():
    spec = only(bootstrap("prod"), "ApplicationSet", "apps")["spec"]["template"]["spec"]
    ignored = {row["kind"]: row.get("jsonPointers") for row in spec["ignoreDifferences"]}

    assert ignored["Rollout"] == ignored["Deployment"] == ["/spec/replicas"]
    assert "RespectIgnoreDifferences=true" in spec["syncPolicy"]["syncOptions"]


def test_production_follows_git_in_working_hours_and_by_hand_at_any():
    (window,) = only(bootstrap("prod"), "AppProject", "adloom")["spec"]["syncWindows"]

    assert (window["kind"], window["manualSync"], window["timeZone"]) == ("allow", True, "Europe/Berlin")
    for environment in ("dev", "staging"):
        assert "syncWindows" not in only(bootstrap(environment), "AppProject", "adloom")["spec"]


def test_in_production_a_folder_that_is_gone_takes_no_service_along():
    prod, dev = (only(bootstrap(each), "ApplicationSet", "apps")["spec"] for each in ("prod", "dev"))

    assert prod["syncPolicy"] == {"applicationsSync": "create-update", "preserveResourcesOnDeletion": True}
    assert "syncPolicy" not in dev


@pytest.mark.parametrize("environment", ENVIRONMENTS)
def test_the_platform_knows_the_same_cloud_as_the_service(environment):
    ours = env_file(GITOPS / f"platform/overlays/{environment}/core/cloud.env")
    theirs = env_file(APPS / f"adloom-api/overlays/{environment}/platform.env")
    text = yaml.safe_dump_all(platform(environment))

    assert ours.items() <= theirs.items()
    assert f"{ours['PROMETHEUS_URL']}api/v1/remote_write" in text
    assert "from-cloud-env" not in text
    assert values(environment, "aws-load-balancer-controller")["vpcId"] == ours["VPC_ID"]
    (address, region) = values(environment, "argo-rollouts")["controller"]["extraEnv"]
    assert address == {"name": "ARGO_ROLLOUTS_PROMETHEUS_ADDRESS", "value": ours["PROMETHEUS_URL"]}
    assert region == {"name": "AWS_REGION", "value": ours["AWS_REGION"]}
    assert values(environment, "airflow")["images"]["airflow"]["digest"].startswith("sha256:")


def test_every_identity_that_a_chart_wants_is_one_that_terraform_makes():
    text = (GITOPS.parent / "infra/deployments/platform/workloads.tf").read_text(encoding="utf-8")
    wanted = {
        ("argo-rollouts", "argo-rollouts"), ("aws-load-balancer-controller", "kube-system"),
        ("external-secrets", "external-secrets"), ("grafana", "monitoring"), ("prometheus", "monitoring"),
    }  # fmt: skip
    places = {each["metadata"]["name"]: each["spec"]["destination"]["namespace"] for each in applications("prod")}
    for name, namespace in wanted:
        chart = values("prod", name)
        account = chart.get("serviceAccount") or chart["prometheus"]["serviceAccount"]

        assert (account["name"], places[name]) == (name, namespace)
        assert re.search(rf'^    {name} = \{{\n      namespace +?= "{namespace}"$', text, flags=re.MULTILINE), name


def test_what_is_subscribed_to_is_what_argo_cd_can_tell():
    told = yaml.safe_load((GITOPS / "bootstrap/argocd/notifications.yaml").read_text(encoding="utf-8"))["data"]
    triggers = {name.removeprefix("trigger.") for name in told if name.startswith("trigger.")}
    spec = only(bootstrap("prod"), "ApplicationSet", "apps")["spec"]["template"]["metadata"]["annotations"]
    subscribed = {key.split("/subscribe.")[1].removesuffix(".chat") for key in spec if "/subscribe." in key}
    sent = {
        name
        for key, value in told.items()
        if key.startswith("trigger.")
        for row in yaml.safe_load(value)
        for name in row["send"]
    }
    secret = only(platform("prod"), "ExternalSecret", "argocd-notifications-secret")["spec"]

    assert subscribed == triggers == {"on-deployed", "on-health-degraded", "on-sync-failed"}
    assert {f"template.{name}" for name in sent} <= set(told)
    assert yaml.safe_load(told["trigger.on-deployed"])[0]["oncePer"] == "app.status.sync.revision"
    assert f"${secret['data'][0]['secretKey']}" in told["service.webhook.chat"]


def test_the_rule_that_calls_the_hook_is_the_one_that_people_are_told_by():
    rules = yaml.safe_load((APPS / "adloom-exporter/monitoring/rules.yaml").read_text(encoding="utf-8"))["groups"]
    theirs = [rule for each in rules for rule in each["rules"] if rule.get("alert") == "AdloomDriftHurts"]
    ours = only(render("gitops/platform"), "PrometheusRule", "adloom-hook")["spec"]["groups"][0]["rules"]

    assert ours == theirs
    assert len(ours) == 1


def test_the_routes_name_the_file_where_the_hooks_token_is_mounted():
    routes = yaml.safe_load((GITOPS / "platform/alertmanager/alertmanager-hook.yaml").read_text(encoding="utf-8"))
    spec = values("prod", "prometheus")["alertmanager"]["alertmanagerSpec"]
    (mount,), (volume,) = spec["volumeMounts"], spec["volumes"]
    (item,) = volume["secret"]["items"]
    named = re.findall("credentials_file': '([^']+)'", str(routes))

    assert named == [f"{mount['mountPath']}/{item['path']}"]
    assert only(render("gitops/platform"), "Secret", spec["configSecret"])["data"].keys() == {"alertmanager.yaml"}
    assert only(platform("prod"), "ExternalSecret", volume["secret"]["secretName"])


def test_every_secret_that_a_chart_names_is_one_that_is_made():
    made = {each["metadata"]["name"] for each in render("gitops/platform/airflow/secrets")}
    airflow = values("prod", "airflow")
    named = {airflow["data"]["metadataSecretName"], *(airflow[key] for key in airflow if key.endswith("SecretName"))}

    assert named == made
    assert values("prod", "grafana")["admin"]["existingSecret"] in {
        each["metadata"]["name"] for each in platform("prod") if each["kind"] == "ExternalSecret"
    }


def test_steps_run_in_our_namespace_from_a_template_that_is_there():
    airflow = values("prod", "airflow")
    pods = only(render("gitops/apps/airflow/overlays/prod"), "ConfigMap", "adloom-step-pods")
    template = airflow["config"]["kubernetes_executor"]["pod_template_file"]
    (mount,), (volume,) = airflow["volumeMounts"], airflow["volumes"]

    assert airflow["executor"] == "KubernetesExecutor"
    assert airflow["config"]["kubernetes_executor"]["namespace"] == "adloom"
    assert volume["configMap"]["name"] == pods["metadata"]["name"]
    assert template.removeprefix(f"{mount['mountPath']}/") in pods["data"]
