"""
A Grafana of this machine, given the dashboards in Git and one Prometheus, open to whoever reaches this machine's port.

Knows where packages put Grafana; whoever has none gets pictures (pages.py).
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import yaml

from app.watch.dashboards import FOLDER
from app.watch.processes import Part, answers, free_port

PROGRAMS = ("grafana", "grafana-server")
HOMES = (Path("/usr/share/grafana"), Path("/opt/homebrew/opt/grafana/share/grafana"), Path("/usr/local/share/grafana"))
"""Where packages put what Grafana serves: Debian, and Homebrew on both kinds of Mac."""


def installed() -> tuple[str, Path] | None:
    """The program and its home; None where one of them is missing."""
    program = next((found for name in PROGRAMS if (found := shutil.which(name))), None)
    home = next((home for home in HOMES if (home / "conf/defaults.ini").is_file()), None)
    return (program, home) if program and home else None


def provision(folder: Path, prometheus: str, root: Path) -> None:
    """Write Grafana's provisioning files: the data source, and the folder of the dashboards."""
    sources = {
        "apiVersion": 1,
        "datasources": [
            {"name": "local", "type": "prometheus", "access": "proxy", "url": prometheus, "isDefault": True,
             "jsonData": {"timeInterval": "1s"}},
        ],
    }  # fmt: skip
    providers = {
        "apiVersion": 1,
        "providers": [
            {"name": "adloom", "folder": "Adloom", "type": "file", "options": {"path": str((root / FOLDER).resolve())}}
        ],
    }
    for name, content in (("datasources", sources), ("dashboards", providers)):
        path = folder / "provisioning" / name / "adloom.yaml"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(yaml.safe_dump(content, sort_keys=False), encoding="utf-8")


def grafana(folder: Path, program: str, home: Path) -> Part:
    """Not started; its address is http://127.0.0.1:<port>."""
    port = free_port()
    settings = {
        "GF_PATHS_DATA": folder / "data",
        "GF_PATHS_LOGS": folder / "logs",
        "GF_PATHS_PROVISIONING": folder / "provisioning",
        "GF_SERVER_HTTP_ADDR": "127.0.0.1",
        "GF_SERVER_HTTP_PORT": port,
        "GF_AUTH_ANONYMOUS_ENABLED": "true",
        "GF_AUTH_ANONYMOUS_ORG_ROLE": "Viewer",
        "GF_ANALYTICS_REPORTING_ENABLED": "false",
        "GF_ANALYTICS_CHECK_FOR_UPDATES": "false",
        "GF_ANALYTICS_CHECK_FOR_PLUGIN_UPDATES": "false",
    }
    environment = {**os.environ, **{name: str(value) for name, value in settings.items()}}
    command = [program, *(["server"] if Path(program).name == "grafana" else []), "--homepath", str(home)]
    log = folder / "grafana.log"
    return Part("grafana", command, port, log, lambda: answers(port, "/api/health"), environment, folder)
