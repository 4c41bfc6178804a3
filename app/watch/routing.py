"""
Alertmanager's files, made from the one routing tree in gitops/platform/alertmanager/routes.yaml.

Knows receivers by name. Secrets are files that Alertmanager reads; none stands here.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

FOLDER = Path("gitops/platform/alertmanager")
ROUTES = FOLDER / "routes.yaml"
SECRETS = "/etc/alertmanager/secrets"
HOOK_URL = "http://adloom-alert-hook.adloom.svc:9110/v1/alerts"
PAGER, TICKETS, NOBODY, HOOK = "pager", "tickets", "nobody", "retrain-hook"
_NOTE = "# Written by `adloom alerts routes --write` from routes.yaml: change that one.\n"
_WHOLE = "# Whoever runs no Managed Prometheus: people and the hook are told from here.\n"
_HOOK_ALONE = (
    "# In a cluster beside Managed Prometheus, which tells the people even where the cluster is gone: from here only\n"
    "# the hook is called.\n"
)


def rendered(root: Path) -> dict[Path, str]:
    """Each file's content by its path below the root. Raises ValueError for a tree with a receiver nobody knows."""
    tree = read_routes(root)
    return {
        FOLDER / "alertmanager.yaml": _NOTE
        + _WHOLE
        + _text(tree, {PAGER: _pager(), TICKETS: _tickets(), HOOK: _hook()}),
        FOLDER / "alertmanager-hook.yaml": _NOTE + _HOOK_ALONE + _text(tree, {HOOK: _hook()}),
    }


def read_routes(root: Path) -> dict[str, Any]:
    """The tree and the inhibitions. Raises ValueError where a receiver is none of ours."""
    tree: dict[str, Any] = yaml.safe_load((root / ROUTES).read_text(encoding="utf-8"))
    unknown = receivers_of(tree["route"]) - {PAGER, TICKETS, NOBODY, HOOK}
    if unknown:
        raise ValueError(f"{ROUTES} names a receiver that nobody fills in: {', '.join(sorted(unknown))}")
    return tree


def receivers_of(route: Mapping[str, Any]) -> set[str]:
    """Every receiver that a route or one below it names."""
    below = [receivers_of(each) for each in route.get("routes", [])]
    return {route["receiver"]}.union(*below)


def _text(tree: Mapping[str, Any], filled: Mapping[str, Mapping[str, Any]]) -> str:
    receivers = [{"name": name, **filled.get(name, {})} for name in (PAGER, TICKETS, NOBODY, HOOK)]
    whole = {"route": tree["route"], "inhibit_rules": tree["inhibit_rules"], "receivers": receivers}
    text: str = yaml.safe_dump(whole, sort_keys=False, width=120)
    return text


def _pager() -> dict[str, Any]:
    return {
        "pagerduty_configs": [
            {
                "routing_key_file": f"{SECRETS}/pager-routing-key",
                "description": "{{ .CommonAnnotations.summary }}",
                "details": {"runbook": "{{ .CommonAnnotations.runbook_url }}"},
                "links": [{"href": "{{ .CommonAnnotations.dashboard_url }}", "text": "dashboard"}],
            }
        ]
    }


def _tickets() -> dict[str, Any]:
    text = "{{ range .Alerts }}{{ .Annotations.description }}\n{{ end }}{{ .CommonAnnotations.runbook_url }}"
    return {
        "slack_configs": [
            {
                "api_url_file": f"{SECRETS}/tickets-url",
                "channel": "adloom-tickets",
                "send_resolved": True,
                "title": "{{ .CommonLabels.alertname }}: {{ .CommonAnnotations.summary }}",
                "text": text,
            }
        ]
    }


def _hook() -> dict[str, Any]:
    authorization = {"type": "Bearer", "credentials_file": f"{SECRETS}/hook-token"}
    return {
        "webhook_configs": [
            {"url": HOOK_URL, "send_resolved": False, "max_alerts": 10, "http_config": {"authorization": authorization}}
        ]
    }
