"""What stands twice about the pipelines: a step's file, command and line in the map, and the status that means no."""

from __future__ import annotations

import ast
import re

from tests.repo.tree import ROOT, project, tracked

PAGE = ROOT / "architecture/pipelines.md"
STEPS = [path for path in tracked(".py") if path.parent.as_posix() == "pipelines/steps" and path.stem != "__init__"]
DAGS = [path for path in tracked(".py") if path.parent.as_posix() == "pipelines/dags" and path.stem != "__init__"]


def commands():
    """Command to the module that it runs."""
    declared = project()["project"]["entry-points"]["adloom.commands"]
    return {name: target.partition(":")[0] for name, target in declared.items()}


def rows_of(heading):
    """The cells of the table below a heading, without its head."""
    part = PAGE.read_text(encoding="utf-8").split(f"\n## {heading}\n")[1].split("\n## ")[0]
    lines = [line for line in part.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[2:]]


def constant(path, name):
    tree = ast.parse((ROOT / path).read_text(encoding="utf-8"))
    (value,) = [
        node.value.value
        for node in tree.body
        if isinstance(node, ast.Assign) and [getattr(target, "id", "") for target in node.targets] == [name]
    ]
    return value


def test_the_map_lists_every_step_once_and_nothing_else():
    listed = [row[0].strip("`") for row in rows_of("The steps")]

    assert sorted(listed) == sorted(path.stem.replace("_", "-") for path in STEPS)


def test_every_step_is_the_command_of_its_own_name():
    known = commands()

    assert {path.stem: known.get(path.stem.replace("_", "-")) for path in STEPS} == {
        path.stem: f"pipelines.steps.{path.stem}" for path in STEPS
    }


def test_a_step_that_can_say_no_has_that_explained_and_no_other_has():
    """`never` in the last column, or a reason: read off the step's own code."""
    explained = {row[0].strip("`"): not row[3].startswith("never") for row in rows_of("The steps")}
    says_no = {
        path.stem.replace("_", "-"): "EXIT_REFUSED" in (ROOT / path).read_text(encoding="utf-8") for path in STEPS
    }

    assert explained == says_no


def test_the_diagram_shows_every_dag_with_the_steps_that_it_runs():
    diagram = re.search(r"```mermaid\n(.*?)```", PAGE.read_text(encoding="utf-8"), flags=re.DOTALL)[1]
    shown = dict(re.findall(r"subgraph (\w+)\n(.*?)\n    end", diagram, flags=re.DOTALL))
    used = {path.stem: set(re.findall(r'step="([\w-]+)"', (ROOT / path).read_text(encoding="utf-8"))) for path in DAGS}

    assert set(shown) == set(used)
    assert {dag: {step for step in steps if step not in shown[dag]} for dag, steps in used.items()} == {
        dag: set() for dag in used
    }


def test_the_status_that_means_no_is_the_same_for_steps_and_scheduler():
    assert constant("pipelines/step.py", "EXIT_REFUSED") == constant("pipelines/schedule.py", "EXIT_REFUSED") == 3


def test_every_address_of_an_asset_stands_in_the_diagram():
    addresses = re.findall(r'Asset\("(adloom://\w+)"\)', (ROOT / "pipelines/schedule.py").read_text(encoding="utf-8"))
    page = PAGE.read_text(encoding="utf-8")

    assert len(addresses) == 3
    assert [address for address in addresses if address not in page] == []


def test_the_hours_after_which_a_runner_is_given_up_are_twice_the_longest_run_and_stand_in_the_map():
    dag = (ROOT / "pipelines/dags/train_writer.py").read_text(encoding="utf-8")
    step = (ROOT / "pipelines/steps/claim_retrain.py").read_text(encoding="utf-8")
    longest = int(re.search(r"dagrun_timeout=timedelta\(hours=(\d+)\)", dag)[1])
    given_up = int(re.search(r"ABANDONED_AFTER = timedelta\(hours=(\d+)\)", step)[1])

    assert given_up == 2 * longest
    assert f"After {given_up} hours" in PAGE.read_text(encoding="utf-8")
