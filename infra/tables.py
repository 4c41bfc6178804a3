"""
The generated tables of infra/: variables and outputs of every module, and which role may do what to what.

The first are read from the files, the second from a test of Terraform that builds the policies without any AWS.
Run by `make infra-docs`; `python -m infra.tables --check` says what is out of date.
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from infra.costs import monthly_table
from infra.terraform import DeployError, Terraform

ROOT = Path(__file__).resolve().parent
BEGIN, END = "<!-- generated: make infra-docs -->", "<!-- end -->"
ACCOUNT = "111122223333"
"""Of the mocks; the table says ACCOUNT instead."""


@dataclass(frozen=True, slots=True)
class Entry:
    """A variable or an output as its file declares it; `default` is None where a value must be given."""

    name: str
    description: str
    kind: str
    default: str | None


def entries(path: Path, block: str) -> list[Entry]:
    """Every `block` of the file, in its order: variable or output."""
    text = path.read_text(encoding="utf-8")
    return [_entry(*found) for found in re.findall(rf'^{block} "(\w+)" {{\n(.*?)^}}', text, re.DOTALL | re.MULTILINE)]


def module_table(module: Path) -> str:
    """Both tables of one module, as its README.md shows them."""
    lines = ["| variable | type | default | what it is |", "|---|---|---|---|"]
    for each in entries(module / "variables.tf", "variable"):
        default = "required" if each.default is None else f"`{each.default}`"
        lines.append(f"| `{each.name}` | {each.kind} | {default} | {each.description} |")
    lines += ["", "| output | what it is |", "|---|---|"]
    lines += [f"| `{each.name}` | {each.description} |" for each in entries(module / "outputs.tf", "output")]
    return "\n".join(lines)


def with_table(page: str, table: str) -> str:
    """The page with `table` between its marks. Raises DeployError where it has none."""
    if page.count(BEGIN) != 1 or page.count(END) != 1:
        raise DeployError(f"a page with a generated table needs the lines {BEGIN} and {END}, once each")
    head, rest = page.split(BEGIN)
    return f"{head}{BEGIN}\n\n{table}\n\n{END}{rest.split(END)[1]}"


def role_table(policies: dict[str, str]) -> str:
    """One row for each role and statement, by role. Denials say so."""
    lines = ["| role | | actions | resources | only if |", "|---|---|---|---|---|"]
    for role, policy in sorted(policies.items()):
        statements = json.loads(policy)["Statement"]
        lines += [f"| `{role}` | {' | '.join(_cells(each))} |" for each in statements]
    return "\n".join(lines)


def built_policies(terraform: Terraform) -> dict[str, str]:
    """Policies by role, as the compositions of network and platform build them. Raises DeployError."""
    policies: dict[str, str] = {}
    for deployment in ("network", "platform"):
        outputs = _tested_outputs(terraform, ROOT / "deployments" / deployment)
        policies |= outputs["policies"]["value"]
    return policies


def pages(terraform: Terraform) -> Iterator[tuple[Path, str]]:
    """Every page with a generated part, as it should read. Raises DeployError."""
    for module in sorted((ROOT / "modules").iterdir()):
        page = module / "README.md"
        yield page, with_table(page.read_text(encoding="utf-8"), module_table(module))
    map_of_all = ROOT / "README.md"
    yield map_of_all, with_table(map_of_all.read_text(encoding="utf-8"), monthly_table(ROOT / "environments"))
    roles = ROOT / "roles.md"
    yield roles, with_table(roles.read_text(encoding="utf-8"), role_table(built_policies(terraform)))


def _entry(name: str, body: str) -> Entry:
    description = re.search(r'^ +description += "(.*)"$', body, re.MULTILINE)
    kind = re.search(r"^ +type += (\w+)(\((?:\w+)\))?", body, re.MULTILINE)
    default = re.search(r"^ +default += (.*)$", body, re.MULTILINE)
    shown = None if default is None else re.sub(r"^\{$", "{...}", default[1].strip())
    said = description[1].replace('\\"', '"') if description else ""
    return Entry(name, said, "".join(part or "" for part in kind.groups()) if kind else "", shown)


def _cells(statement: dict[str, Any]) -> list[str]:
    """Of a policy's statement: effect, actions, resources, conditions."""
    actions, resources = (_as_list(statement[name]) for name in ("Action", "Resource"))
    conditions = [
        f"`{key}` is {', '.join(_as_list(value))}"
        for operator in statement.get("Condition", {}).values()
        for key, value in operator.items()
    ]
    shown = [", ".join(f"`{each.replace(ACCOUNT, 'ACCOUNT')}`" for each in cell) for cell in (actions, resources)]
    return [statement["Effect"].lower(), *shown, "; ".join(conditions)]


def _as_list(value: str | list[str]) -> list[str]:
    return [value] if isinstance(value, str) else sorted(set(value))


def _tested_outputs(terraform: Terraform, folder: Path) -> dict[str, Any]:
    """Outputs of the run named composition. Raises DeployError where the test does not pass."""
    with tempfile.TemporaryDirectory(prefix="adloom-tables-") as data:
        terraform = terraform.with_data(data)
        terraform.init(folder, ["-backend=false"])
        command = [terraform.program, "test", "-json", "-verbose", "-filter=tests/composition.tftest.hcl"]
        done = subprocess.run(
            command, cwd=folder, env=terraform.environment(), capture_output=True, text=True, check=False
        )
    messages = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    states = [each["test_state"] for each in messages if each.get("type") == "test_state"]
    if done.returncode != 0 or not states:
        raise DeployError(f"the composition of {folder.name} does not pass: run `terraform test` there")
    outputs: dict[str, Any] = states[0]["outputs"]
    return outputs


def main(given: Sequence[str] | None = None) -> int:
    """0: current, or written; 1: out of date, or it could not be said."""
    parser = argparse.ArgumentParser(prog="python -m infra.tables", epilog="example: python -m infra.tables --check")
    parser.add_argument("--check", action="store_true", help="write nothing; fail where a table is out of date")
    check = parser.parse_args(given).check
    try:
        stale = [(page, text) for page, text in pages(Terraform.find()) if text != page.read_text(encoding="utf-8")]
    except DeployError as error:
        print(f"infra: {error}", file=sys.stderr)
        return 1
    for page, text in stale:
        print(f"{'out of date' if check else 'wrote'}: {page.relative_to(ROOT)}")
        if not check:
            page.write_text(text, encoding="utf-8")
    return 1 if check and stale else 0


if __name__ == "__main__":
    raise SystemExit(main())
