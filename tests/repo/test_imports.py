"""Direction of imports, nothing at import, no module that nobody needs."""

from __future__ import annotations

import ast
import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
from importlib.metadata import packages_distributions
from pathlib import Path

import grimp
import pytest

from tests.repo.tree import ROOT, modules, normal, project, tracked

# Run in a process of its own: an audit hook cannot be taken out again.
IMPORT_ALL = """
import importlib, json, os, sys

seen, current = [], None

def watch(event, arguments):
    if event in {"socket.connect", "socket.bind", "socket.getaddrinfo", "subprocess.Popen", "os.system", "os.mkdir"}:
        seen.append([current, event, repr(arguments[:2])])
    if event == "open" and isinstance(arguments[2], int) and arguments[2] & (os.O_WRONLY | os.O_RDWR | os.O_CREAT):
        seen.append([current, "open for writing", repr(arguments[0])])

sys.addaudithook(watch)
for current in sys.argv[1:]:
    importlib.import_module(current)
print(json.dumps(seen))
"""


def effects_of_importing(names, folder, pythonpath=ROOT):
    environment = {"PATH": os.environ["PATH"], "PYTHONPATH": str(pythonpath), "PYTHONDONTWRITEBYTECODE": "1"}
    command = [sys.executable, "-c", IMPORT_ALL, *names]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    return json.loads(done.stdout), done.stderr


def rooms(*, training):
    # Airflow makes its folder when it is imported; that is why it has a module of its own.
    ours = [name for name in modules().values() if name != "pipelines.schedule"]
    return [name for name in ours if name.startswith("model.training") == training]


def test_importing_the_rooms_opens_no_socket_writes_no_file_starts_no_process(tmp_path):
    effects, spoken = effects_of_importing(rooms(training=False), tmp_path)

    assert effects == []
    assert spoken == ""
    assert list(tmp_path.iterdir()) == []


def test_importing_the_training_room_does_nothing_either(tmp_path):
    if importlib.util.find_spec("torch") is None:
        pytest.skip("torch is not installed: `make test` installs the extra train")
    effects, spoken = effects_of_importing(rooms(training=True), tmp_path)

    assert effects == []
    assert spoken == ""


def test_a_module_that_writes_at_import_would_be_noticed(tmp_path):
    (tmp_path / "careless.py").write_text("open('trace', 'w').close()")

    effects, _ = effects_of_importing(["careless"], tmp_path, pythonpath=tmp_path)

    assert [effect[:2] for effect in effects] == [["careless", "open for writing"]]


def imported(path):
    """Top-level names of every absolute import in a file, at any depth."""
    nodes = list(ast.walk(ast.parse(path.read_text(encoding="utf-8"))))
    plain = {alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names}
    origins = {node.module for node in nodes if isinstance(node, ast.ImportFrom) and node.level == 0}
    return {name.split(".")[0] for name in plain | origins}


def lint_imports(folder):
    program = Path(sys.executable).with_name("lint-imports")
    command = [program, "--no-cache", "--no-logo"]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)


def test_the_import_contracts_are_kept():
    done = lint_imports(ROOT)

    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize(
    ("module", "line", "contract"),
    [
        ("app/intruder.py", "import torch", "only model.training imports the training stack"),
        ("app/intruder.py", "def late():\n    import transformers", "only model.training imports the training stack"),
        ("app/intruder.py", "import mlflow", "the serving path carries no training stack"),
        ("model/intruder.py", "import mlflow", "only the registry and training speak to MLflow"),
        ("app/intruder.py", "import model.training.export", "nothing imports model.training"),
        ("model/intruder.py", "import app", "app and pipelines sit above model"),
        ("app/intruder.py", "import pipelines", "app and pipelines sit above model"),
        ("pipelines/dags/intruder.py", "import model.product", "DAG files stay light"),
        ("model/intruder.py", "import fastapi", "model knows no web framework"),
    ],
)
def test_breaking_a_contract_is_noticed(module, line, contract, tmp_path):
    for room in ("app", "model", "pipelines"):
        shutil.copytree(ROOT / room, tmp_path / room, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    (tmp_path / module).write_text(line + "\n")

    done = lint_imports(tmp_path)

    assert done.returncode == 1
    assert any(contract in row and "BROKEN" in row for row in done.stdout.splitlines()), done.stdout


def test_every_module_is_imported_by_another_or_is_a_command():
    graph = grimp.build_graph("app", "model", "pipelines", cache_dir=None)
    commands = {point.split(":")[0] for point in project()["project"]["entry-points"]["adloom.commands"].values()}
    # A build of an image has nothing of ours installed: it runs modules from the source tree.
    for dockerfile in (ROOT / "app").rglob("Dockerfile"):
        commands |= set(re.findall(r"python -m ([\w.]+)", dockerfile.read_text(encoding="utf-8")))
    entered = commands | {point.split(":")[0] for point in project()["project"]["scripts"].values()}
    leaves = [name for name in modules().values() if not graph.find_children(name)]
    dead = [name for name in leaves if name not in entered and not graph.find_modules_that_directly_import(name)]

    assert leaves
    assert dead == []


def test_every_package_imported_is_declared_where_it_is_needed():
    tables = project()["project"]
    extras = tables["optional-dependencies"]
    declared = {
        # Which modules of model may import which of these are contracts of their own.
        "model": tables["dependencies"] + extras["lab"] + extras["app"],
        "app": tables["dependencies"] + extras["app"],
        # The local stack, its pictures and its boards: for a checkout, never for an image.
        "app.load": tables["dependencies"] + extras["app"] + extras["lab"],
        "app.watch": tables["dependencies"] + extras["app"] + extras["lab"] + extras["dev"],
        "app.ui": tables["dependencies"] + extras["ui"],
        "model.training": tables["dependencies"] + extras["train"] + extras["lab"] + extras["bench"] + extras["app"],
        "pipelines": tables["dependencies"] + extras["app"] + extras["lab"] + extras["pipelines"],
        "infra": tables["dependencies"] + extras["app"],
        "tests": [name for extra in ("app", "train", "ui", "lab", "pipelines", "dev") for name in extras[extra]]
        + tables["dependencies"],
    }
    # The engines to race against are in no environment that runs tests.
    absent = {
        "ctranslate2": ["ctranslate2"],
        "llama_cpp": ["llama-cpp-python"],
        "onnxruntime_genai": ["onnxruntime-genai"],
    }
    # What is installed is in packages that this one, which holds nothing itself, brings along.
    brought = {"airflow": ["apache-airflow"]}
    found = absent | packages_distributions() | brought
    providers = {module: {normal(name) for name in names} for module, names in found.items()}
    undeclared = set()
    for path in tracked(".py"):
        room = ".".join(path.parts[:2]) if ".".join(path.parts[:2]) in declared else path.parts[0]
        allowed = {normal(name.split("[")[0]) for name in declared[room]}
        for module in imported(ROOT / path) - sys.stdlib_module_names - {"app", "infra", "model", "pipelines", "tests"}:
            if not providers.get(module, set()) & allowed:
                undeclared.add(f"{path} imports {module}")

    assert sorted(undeclared) == []
