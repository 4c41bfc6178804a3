"""
What one object says of another has to be there: selectors find pods, names find objects, what is needed comes first.

Each policy takes the objects of one environment, of every application, and yields a line for whatever leads nowhere.
"""

from __future__ import annotations

from collections.abc import Iterator

from tests.gitops.pods import LASTING, Pod, matches, namespace_of, owner_of, pods, wave_of

NOT_PUBLIC = ("/metrics", "/healthz", "/readyz")
REQUEST_SECONDS_MAX = 60
"""ADLOOM_REQUEST_TIMEOUT_SECONDS of every environment; test_settings_of_manifests compares."""
PART_OF_NAMESPACE = {"default"}
"""Service accounts that Kubernetes makes."""


def of_kind(objects: list[dict], *kinds: str) -> list[dict]:
    """Objects of these kinds."""
    return [each for each in objects if each["kind"] in kinds]


def every_pod_has_network_policies(objects: list[dict]) -> Iterator[str]:
    """A namespace denies everything first; each pod then has a policy of its own that says what it needs."""
    policies = of_kind(objects, "NetworkPolicy")
    for namespace in sorted({pod.namespace for pod in pods(objects)}):
        if not any(_denies_all(each) for each in policies if namespace_of(each) == namespace):
            yield f"namespace {namespace}: nothing denies what no policy allows"
    for pod in pods(objects):
        own = [
            each
            for each in policies
            if namespace_of(each) == pod.namespace
            and each["spec"]["podSelector"]
            and matches(each["spec"]["podSelector"], pod.labels)
            and set(each["spec"]["policyTypes"]) == {"Ingress", "Egress"}
        ]
        if not own:
            yield f"{pod.owner}: no network policy of its own"


def _denies_all(policy: dict) -> bool:
    spec = policy["spec"]
    return (
        not spec["podSelector"]
        and set(spec["policyTypes"]) == {"Ingress", "Egress"}
        and not spec.get("ingress")
        and not spec.get("egress")
    )


def network_policies_select_pods(objects: list[dict]) -> Iterator[str]:
    """A policy for a label that no pod has protects nobody. Those of Airflow's pods select what the chart makes."""
    for each in of_kind(objects, "NetworkPolicy"):
        selector, namespace = each["spec"]["podSelector"], namespace_of(each)
        found = [pod for pod in pods(objects) if pod.namespace == namespace and matches(selector, pod.labels)]
        if selector and not found and namespace != "airflow":
            yield f"{owner_of(each)}: selects no pod"


def public_workloads_have_disruption_budgets(objects: list[dict]) -> Iterator[str]:
    """Whatever an Ingress leads to outlives the drain of a node."""
    budgets = of_kind(objects, "PodDisruptionBudget")
    for service in _services_of_ingresses(objects):
        for pod in _selected(objects, service):
            if not any(
                namespace_of(each) == pod.namespace and matches(each["spec"]["selector"], pod.labels)
                for each in budgets
            ):
                yield f"{pod.owner}: public and without a disruption budget"
    for each in budgets:
        if not any(
            pod.lasts and pod.namespace == namespace_of(each) and matches(each["spec"]["selector"], pod.labels)
            for pod in pods(objects)
        ):
            yield f"{owner_of(each)}: selects no pod"


def services_lead_to_pods(objects: list[dict]) -> Iterator[str]:
    """Selector and port both."""
    for service in of_kind(objects, "Service"):
        found = _selected(objects, service)
        if not found:
            yield f"{owner_of(service)}: selects no pod"
        for port in service["spec"]["ports"]:
            for pod in found:
                names = {each["name"]: each["containerPort"] for each in _ports(pod)}
                if port["targetPort"] not in names:
                    yield f"{owner_of(service)}: {pod.owner} has no port {port['targetPort']}"
                elif names[port["targetPort"]] != port["port"]:
                    # The network plug-in of EKS matches policies only where both are the same.
                    yield f"{owner_of(service)}: port {port['port']} is another on the pods"


def monitors_find_services(objects: list[dict]) -> Iterator[str]:
    """Whatever is scraped is found by label and port, once, and lets Prometheus in."""
    for monitor in of_kind(objects, "ServiceMonitor"):
        found = [
            each
            for each in of_kind(objects, "Service")
            if namespace_of(each) == namespace_of(monitor)
            and matches(monitor["spec"]["selector"], each["metadata"]["labels"])
        ]
        if len(found) != 1:
            yield f"{owner_of(monitor)}: selects {len(found)} services"
        for service in found:
            ports = {each["name"] for each in service["spec"]["ports"]}
            for endpoint in monitor["spec"]["endpoints"]:
                if endpoint["port"] not in ports:
                    yield f"{owner_of(monitor)}: {owner_of(service)} has no port {endpoint['port']}"
            for pod in _selected(objects, service):
                if pod.labels.get("adloom.io/scraped") != "true":
                    yield f"{owner_of(monitor)}: {pod.owner} is not labelled adloom.io/scraped"
            if monitor["spec"].get("jobLabel") not in service["metadata"]["labels"]:
                yield f"{owner_of(monitor)}: {owner_of(service)} lacks the label that names the job"


def ingresses_lead_to_services(objects: list[dict]) -> Iterator[str]:
    """By name and port; metrics and probes stay inside."""
    services = {owner_of(each): each for each in of_kind(objects, "Service")}
    for ingress in of_kind(objects, "Ingress"):
        annotations = ingress["metadata"].get("annotations", {})
        for path in _paths(ingress):
            backend = path["backend"]["service"]
            port, action = backend["port"].get("name"), f"alb.ingress.kubernetes.io/actions.{backend['name']}"
            is_fixed = port == "use-annotation" and action in annotations
            if is_fixed:
                continue
            if path["path"] in NOT_PUBLIC:
                yield f"{owner_of(ingress)}: {path['path']} is public"
            service = services.get(f"Service {backend['name']}")
            if service is None:
                yield f"{owner_of(ingress)}: there is no service {backend['name']}"
            elif port == "use-annotation":
                if not _is_weighted(objects, ingress):
                    yield f"{owner_of(ingress)}: {path['path']} waits for an annotation that nobody writes"
            elif port not in {each["name"] for each in service["spec"]["ports"]}:
                yield f"{owner_of(ingress)}: {backend['name']} has no port {port}"


def _is_weighted(objects: list[dict], ingress: dict) -> bool:
    """Whether Argo Rollouts writes the annotation with the weights."""
    routed = [each["spec"]["strategy"].get("canary", {}) for each in of_kind(objects, "Rollout")]
    names = [each.get("trafficRouting", {}).get("alb", {}).get("ingress") for each in routed]
    return ingress["metadata"]["name"] in names


def scalers_find_their_target(objects: list[dict]) -> Iterator[str]:
    """A scaler that names nothing scales nothing, and says so nowhere that anybody looks."""
    names = {(namespace_of(each), each["kind"], each["metadata"]["name"]) for each in objects}
    for each in of_kind(objects, "ScaledObject"):
        target = each["spec"]["scaleTargetRef"]
        if (namespace_of(each), target.get("kind", "Deployment"), target["name"]) not in names:
            yield f"{owner_of(each)}: there is no {target.get('kind')} {target['name']}"
        low, high = each["spec"]["minReplicaCount"], each["spec"]["maxReplicaCount"]
        if not 1 <= low <= each["spec"]["fallback"]["replicas"] <= high:
            yield f"{owner_of(each)}: from {low} to {high}, and {each['spec']['fallback']['replicas']} without metrics"


def pods_find_what_they_name(objects: list[dict]) -> Iterator[str]:
    """ConfigMaps, secrets and their keys, claims, accounts and priorities; each made before the pod or with it."""
    kept = {(each["kind"], namespace_of(each), each["metadata"]["name"]): each for each in objects}
    for pod in pods(objects):
        for kind, name, keys in _needs(pod):
            found = kept.get((kind, "" if kind == "PriorityClass" else pod.namespace, name))
            if kind == "ExternalSecret":
                found = _secret(objects, pod.namespace, name)
            if found is None:
                if name not in PART_OF_NAMESPACE:
                    yield f"{pod.owner}: there is no {kind} {name}"
                continue
            if keys - _keys(found):
                yield f"{pod.owner}: {kind} {name} has no {', '.join(sorted(keys - _keys(found)))}"
            if wave_of(found) > pod.wave:
                yield f"{pod.owner}: {kind} {name} comes after it"


def _secret(objects: list[dict], namespace: str, name: str) -> dict | None:
    made = of_kind(objects, "ExternalSecret")
    return next((e for e in made if namespace_of(e) == namespace and e["spec"]["target"]["name"] == name), None)


def _keys(each: dict) -> set[str]:
    if each["kind"] == "ExternalSecret":
        template = each["spec"]["target"].get("template", {}).get("data", {})
        return set(template) or {entry["secretKey"] for entry in each["spec"]["data"]}
    return set(each.get("data", {}))


def _needs(pod: Pod) -> Iterator[tuple[str, str, set[str]]]:
    """Kind, name and keys of everything that the pod cannot start without; a Secret is its ExternalSecret."""
    yield from (("ServiceAccount", pod.spec[name], set()) for name in ["serviceAccountName"] if name in pod.spec)
    yield from (("PriorityClass", pod.spec[name], set()) for name in ["priorityClassName"] if name in pod.spec)
    for volume in pod.spec.get("volumes", []):
        if secret := volume.get("secret"):
            yield "ExternalSecret", secret["secretName"], {each["key"] for each in secret.get("items", [])}
        if settings := volume.get("configMap"):
            yield "ConfigMap", settings["name"], set()
        if claim := volume.get("persistentVolumeClaim"):
            yield "PersistentVolumeClaim", claim["claimName"], set()
    for container in pod.containers:
        for source in container.get("envFrom", []):
            yield "ConfigMap", source["configMapRef"]["name"], set()
        for variable in container.get("env", []):
            source = variable.get("valueFrom", {})
            if key := source.get("secretKeyRef"):
                yield "ExternalSecret", key["name"], {key["key"]}
            if key := source.get("configMapKeyRef"):
                yield "ConfigMap", key["name"], {key["key"]}


def migrations_come_before_what_needs_them(objects: list[dict]) -> Iterator[str]:
    """In a wave of their own: Argo CD waits for a wave to be done."""
    jobs = of_kind(objects, "Job")
    if not jobs:
        yield "nothing migrates a database"
    for job in jobs:
        for each in of_kind(objects, *LASTING):
            if namespace_of(each) == namespace_of(job) and wave_of(each) <= wave_of(job):
                yield f"{owner_of(each)}: starts beside {owner_of(job)}"


def pods_may_finish_what_they_began(objects: list[dict]) -> Iterator[str]:
    """What is public is given longer than the load balancer takes to let go and the longest request together."""
    for service in _services_of_ingresses(objects):
        for pod in _selected(objects, service):
            sleeps = [each.get("lifecycle", {}).get("preStop", {}).get("sleep", {}) for each in pod.containers]
            seconds = max(each.get("seconds", 0) for each in sleeps)
            grace = pod.spec.get("terminationGracePeriodSeconds", 30)
            if seconds < 10 or grace <= seconds + REQUEST_SECONDS_MAX:
                yield f"{pod.owner}: {grace} s to end, {seconds} of them asleep"


def what_mounts_the_ledger_shares_a_node(objects: list[dict]) -> Iterator[str]:
    """Its volume attaches to one node; without the label and the affinity a pod would wait for ever elsewhere."""
    for pod in pods(objects):
        claims = [volume.get("persistentVolumeClaim", {}).get("claimName") for volume in pod.spec.get("volumes", [])]
        terms = (
            pod.spec.get("affinity", {}).get("podAffinity", {}).get("requiredDuringSchedulingIgnoredDuringExecution")
        )
        on_node = any(
            each["topologyKey"] == "kubernetes.io/hostname" and matches(each["labelSelector"], pod.labels)
            for each in terms or []
        )
        if "adloom-ledger" in claims and not on_node:
            yield f"{pod.owner}: mounts the ledger and may be scheduled elsewhere"


def _services_of_ingresses(objects: list[dict]) -> list[dict]:
    names = {path["backend"]["service"]["name"] for each in of_kind(objects, "Ingress") for path in _paths(each)}
    return [each for each in of_kind(objects, "Service") if each["metadata"]["name"] in names]


def _paths(ingress: dict) -> list[dict]:
    return [path for rule in ingress["spec"]["rules"] for path in rule["http"]["paths"]]


def _selected(objects: list[dict], service: dict) -> list[Pod]:
    selector = {"matchLabels": service["spec"]["selector"]}
    here = [pod for pod in pods(objects) if pod.lasts and pod.namespace == namespace_of(service)]
    return [pod for pod in here if matches(selector, pod.labels)]


def _ports(pod: Pod) -> list[dict]:
    return [port for container in pod.containers for port in container.get("ports", [])]


POLICIES = (
    every_pod_has_network_policies,
    network_policies_select_pods,
    public_workloads_have_disruption_budgets,
    services_lead_to_pods,
    monitors_find_services,
    ingresses_lead_to_services,
    scalers_find_their_target,
    pods_find_what_they_name,
    migrations_come_before_what_needs_them,
    pods_may_finish_what_they_began,
    what_mounts_the_ledger_shares_a_node,
)
