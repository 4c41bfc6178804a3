# ruff: noqa: E501 -- the pages say one sentence a line
"""
The table of drills, `runbooks/drills.md`, and the index of runbooks: written whole, from rows and from front matter.

Knows no stack. A row that is not drilled again stays as it was measured.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from app.drill.exercise import Outcome
from app.drill.runbook import SEVERITIES, Runbook

TABLE = Path("drills.md")
INDEX = Path("README.md")
COLUMNS = (
    "Alert", "Fault", "Speed", "Detected after, s", "Repaired after, s", "At production speed", "Date", "Commit",
)  # fmt: skip
HEAD = """\
# Drills

Each row is one run of `adloom drill`: the fault is caused on a stack of real parts, the real rule fires in a real Prometheus, Alertmanager delivers it, the runbook's own commands are run, and the alert ends.
*Detected* is from the fault to the alert at its receiver; *repaired* is from the runbook's first command to the alert's end in Prometheus.
*Speed* divides every duration of rules and routes, so that a window of an hour need not take one; thresholds are untouched ([why](../architecture/decisions/0032-drills-execute-the-runbooks.md)).
*At production speed* is how long the alert may take from the fault to its firing, from the runbook's front matter.
The writer is a stand-in whose speed and validity the drill sets; everything else is what runs in production.
A + behind a commit says that service, rules, runbooks or drills had changes on top of it.

"""
NOT_DRILLED = """
## Not drilled on one machine

| Alert | Why not | What stands in |
|---|---|---|
"""
INDEX_HEAD = """\
# Runbooks

One page for each alert, named after it; every alert links its page.
Each has the same four headings: what it means, what users notice, how to find the cause, what to do about it.
Blocks marked `sh cluster` are for production, those marked `sh local` for the local stack; a drill runs the latter ([drills.md](drills.md)).
`adloom drill --index` writes this page.

"""
INDEX_TAIL = """\

## Procedures

What no alert asks for stands in [procedures](procedures/): [roll back a model](procedures/rollback-a-model.md), [restore the database](procedures/restore-the-database.md), [rotate keys](procedures/rotate-keys.md), [promote by hand](procedures/promote-by-hand.md), [rebuild the cluster](procedures/rebuild-the-cluster.md), [stop all generation](procedures/stop-all-generation.md).
After an incident, `adloom incident` collects what changed, for the [template](incident-template.md).

## Words the commands use

On the local stack (`adloom drill ALERT --keep`) these are set: `SERVICE`, `EXPORTER`, `PROMETHEUS` and `ALERTMANAGER` are addresses, `TOKEN` is a token of the client `CLIENT_ID`, and `STACK` starts and stops parts, as `kubectl` does in a cluster.

In production set `SERVICE=https://api.adloom.example`, and ask Managed Prometheus through Grafana, which signs for you; the Prometheus in the cluster has no recorded series (`adloom:...`) and no alert but the hook's:
```sh cluster
kubectl -n monitoring port-forward svc/grafana 3000:80 &
WHO=$(kubectl -n monitoring get secret grafana-admin -o jsonpath='{.data.user}' | base64 -d):$(kubectl -n monitoring get secret grafana-admin -o jsonpath='{.data.password}' | base64 -d)
export PROMETHEUS="http://$WHO@127.0.0.1:3000/api/datasources/proxy/uid/prometheus"
```
What needs the service's database is run in a pod that has its address, as the pages show.
`adloom deploy` and `adloom truth` run on your machine: set `ADLOOM_GITOPS_URL` to the repository that the cluster follows, `ADLOOM_SERVICE_URL` to the service, and `GH_TOKEN`.
`adloom rollback`, `adloom promote` and `adloom models` run where the promotion ledger is.
That is a runner in the cluster, so from anywhere else a rollback is asked for by `gh workflow run rollback.yml -f environment=prod -f why="..."` ([delivery](../architecture/delivery.md)).
`kubectl argo rollouts` is [a plugin](https://argoproj.github.io/argo-rollouts/installation/#kubectl-plugin-installation) of `kubectl`.
"""
MEANS = {
    "critical": "somebody is woken",
    "warning": "somebody looks on the next working day",
    "info": "nobody is told; it explains the others",
}
_ROW = re.compile(r"^\| \[(Adloom\w+)\]")


@dataclass(frozen=True, slots=True)
class Stamp:
    """When and of what."""

    date: str
    commit: str


def write_table(folder: Path, runbooks: Mapping[str, Runbook], outcomes: Sequence[Outcome], stamp: Stamp) -> None:
    """Rows of `outcomes` are new; those of other alerts stay."""
    rows = {**kept_rows(folder / TABLE), **{each.alert: row_of(each, runbooks[each.alert], stamp) for each in outcomes}}
    _replace(folder / TABLE, table_text(runbooks, rows))


def table_text(runbooks: Mapping[str, Runbook], rows: Mapping[str, str]) -> str:
    """The page; rows of alerts that are no more are left out."""
    drilled = [rows[name] for name in sorted(rows) if name in runbooks]
    head = "".join((HEAD, f"| {' | '.join(COLUMNS)} |\n", "|---" * len(COLUMNS), "|\n"))
    rest = [
        f"| [{book.alert}]({book.alert}.md) | {book.why} | {book.stand_in} |"
        for book in runbooks.values()
        if not book.is_local
    ]
    return head + "\n".join(drilled) + "\n" + NOT_DRILLED + "\n".join(rest) + "\n"


def kept_rows(path: Path) -> dict[str, str]:
    """By alert; none where there is no page yet."""
    if not path.is_file():
        return {}
    measured = path.read_text(encoding="utf-8").split("## Not drilled")[0].splitlines()
    return {found[1]: line for line in measured if (found := _ROW.match(line))}


def row_of(outcome: Outcome, runbook: Runbook, stamp: Stamp) -> str:
    """One line of the table."""
    cells = (
        f"[{outcome.alert}]({outcome.alert}.md)", outcome.fault, f"{outcome.speed:g}", f"{outcome.detect_seconds:.1f}",
        f"{outcome.repair_seconds:.1f}", runbook.fires_within, stamp.date, stamp.commit,
    )  # fmt: skip
    return f"| {' | '.join(cells)} |"


def index_text(runbooks: Mapping[str, Runbook]) -> str:
    """The page runbooks/README.md."""
    parts = [INDEX_HEAD]
    for severity in SEVERITIES:
        parts.append(f"## {severity.capitalize()}: {MEANS[severity]}\n\n| Alert | Means |\n|---|---|\n")
        parts += [
            f"| [{book.alert}]({book.alert}.md) | {book.meaning} |\n"
            for book in runbooks.values()
            if book.severity == severity
        ]
        parts.append("\n")
    return "".join(parts).rstrip("\n") + "\n" + INDEX_TAIL


def write_index(folder: Path, runbooks: Mapping[str, Runbook]) -> None:
    """Whole or not at all."""
    _replace(folder / INDEX, index_text(runbooks))


def _replace(path: Path, text: str) -> None:
    partial = path.with_suffix(".part")
    partial.write_text(text, encoding="utf-8")
    partial.replace(path)
