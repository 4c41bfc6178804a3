"""What runbooks tell people to type: commands and flags that there are, names of manifests, procedures that work."""

from __future__ import annotations

import argparse
import json
import os
import re
import shlex
import shutil
import subprocess
import urllib.error
import urllib.request
from functools import cache

import pytest
import yaml

from app.cli import installed_commands
from app.drill.exercise import run_block
from app.drill.scene import Scene
from app.watch.stack import Stack
from model.store.tables import Database
from tests.real_parts import postgres_server, wait_until
from tests.repo.tree import ROOT, make_targets

FOLDER = ROOT / "runbooks"
PAGES = sorted(FOLDER.rglob("*.md"))
BLOCK = re.compile(r"^```sh (\w+)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
NAMESPACES = {"adloom", "mlflow", "airflow", "monitoring", "argocd", "argo-rollouts", "external-secrets", "keda"}
PROGRAMS = {
    "adloom", "airflow", "aws", "cp", "createdb", "curl", "cut", "do", "done", "echo", "exit", "export", "fi", "for",
    "git", "grep", "head", "if", "kubectl", "make", "mv", "openssl", "pg_dump", "pg_restore", "psql", "rm", "sleep",
    "sort", "tail", "test", "then", "uniq",
}  # fmt: skip
TABLE_ROWS = "SELECT count(*) FROM creatives"


class ParsedError(Exception):
    """The command line was taken; nothing was run."""


def blocks(page, *places):
    """Texts of those places, all where none is named."""
    found = BLOCK.findall(page.read_text(encoding="utf-8"))
    return [text for place, text in found if not places or place in places]


def lines_of(text):
    """Commands, with lines that end in a backslash joined."""
    return [line for line in text.replace("\\\n", " ").splitlines() if line.strip() and not line.startswith("#")]


def adloom_lines():
    """Every `adloom ...` of blocks and of running text, without what a shell does around it."""
    found = set()
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        spans = re.findall(r"`(adloom [^`\n]+)`", BLOCK.sub("", text))
        commands = [
            part.strip() for _, block in BLOCK.findall(text) for line in lines_of(block) for part in split(line)
        ]
        found |= {(page.name, part) for part in (*spans, *commands) if part.startswith("adloom ")}
    return sorted(found)


def split(line):
    """A line's commands: the ones a pipe, a list or `--` of kubectl exec divides."""
    return re.split(r"\s(?:\|\||&&|\||--)\s", re.sub(r"\s>.*", "", line))


def words(line):
    """As a shell gives them, with something in place of variables and of NAME and REASON."""
    return [re.sub(r"^\"?\$\{?\w+\}?\"?$", "value", word) for word in shlex.split(line)]


@cache
def parser_error(command):
    """What the command's own parser says of it; empty where it takes it."""
    name, *arguments = words(command)[1:]
    found = installed_commands()
    if name not in found:
        return f"there is no command {name}"
    original = argparse.ArgumentParser.parse_args

    def parse(self, args=None, namespace=None):
        original(self, args, namespace)
        raise ParsedError

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(argparse.ArgumentParser, "parse_args", parse)
        patch.setattr(argparse.ArgumentParser, "_print_message", lambda *_: None)
        try:
            found[name].load()(arguments)
        except ParsedError:
            return ""
        except SystemExit as stop:
            return f"refused ({stop.code})"
    return "ran without reading its arguments"


@pytest.mark.parametrize(("page", "command"), adloom_lines(), ids=lambda text: text[:70])
def test_every_adloom_command_is_one_with_flags_that_it_has(page, command):
    if not words(command)[2:] and "--" not in command:
        assert words(command)[1] in installed_commands()
    else:
        assert parser_error(command) == ""


def test_a_flag_that_there_is_not_would_be_noticed():
    assert parser_error("adloom retrains --limit 5") == ""
    assert parser_error("adloom retrains --nothing 5") == "refused (2)"
    assert parser_error("adloom nothing") == "there is no command nothing"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_every_block_is_bash_and_uses_programs_that_people_have(page):
    texts = blocks(page)
    checked = [subprocess.run(["bash", "-n", "-c", text], capture_output=True, check=False).stderr for text in texts]
    lines = [line for text in texts for line in lines_of(text)]
    used = {part.split()[0] for line in lines for part in split(line.strip()) if part.split()}

    assert set(checked) <= {b""}
    assert {word for word in used if re.fullmatch(r"[a-z][a-z_-]*", word)} - PROGRAMS - {"app", "deploy"} == set(), page


def test_every_fenced_block_says_where_it_is_to_be_run():
    unmarked = [
        page.name for page in PAGES if re.search(r"^```(?:sh)?\n(?=\S)", page.read_text(encoding="utf-8"), re.MULTILINE)
    ]
    closed = [name for name in unmarked if _opens_unmarked(FOLDER / name)]

    assert closed == []


def _opens_unmarked(path):
    if not path.exists():
        return False
    fences = re.findall(r"^```(.*)$", path.read_text(encoding="utf-8"), flags=re.MULTILINE)
    return any(not opening for opening in fences[::2])


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_kubectl_names_namespaces_and_things_that_the_manifests_have(page):
    names = manifest_names()
    for line in (line for text in blocks(page, "cluster") for line in lines_of(text)):
        if "kubectl" not in line:
            continue
        namespace = re.search(r"-n ([a-z-]+)", line)

        assert namespace, f"{page.name}: name the namespace: {line}"
        assert namespace[1] in NAMESPACES
        for label in re.findall(r"app\.kubernetes\.io/name=([a-z-]+)", line):
            assert label in names, f"{page.name}: no manifest has the name {label}"
        if namespace[1] == "adloom":
            for kind, name in re.findall(
                r"(deploy|rollout|scaledobject|externalsecret|ingress)[ /](adloom-[a-z-]+)", line
            ):
                assert (kind, name) in names, f"{page.name}: no {kind} {name}"


@cache
def manifest_names():
    """Names that manifests of our apps carry, alone and with their kind as kubectl has it."""
    kinds = {"Deployment": "deploy", "Rollout": "rollout", "ScaledObject": "scaledobject",
             "ExternalSecret": "externalsecret", "Ingress": "ingress"}  # fmt: skip
    found = set()
    for path in ROOT.glob("gitops/apps/*/**/*.yaml"):
        for part in path.read_text(encoding="utf-8").split("\n---"):
            kind, name = (re.search(rf"^ *{key}: ([\w-]+)$", part, flags=re.MULTILINE) for key in ("kind", "name"))
            found |= set(re.findall(r"app\.kubernetes\.io/name: ([\w-]+)", part))
            if kind and name:
                found.add((kinds.get(kind[1], kind[1]), name[1]))
    return found


WITH_PIPES = [(page, line) for page in PAGES for text in blocks(page) for line in lines_of(text)]
KUBECTL = [(page, line) for page, line in WITH_PIPES if line.lstrip().startswith("kubectl")]


def test_logs_of_many_pods_are_asked_for_whole_or_by_the_number_of_lines():
    short = [line for _, line in KUBECTL if " logs -l " in line and "--tail" not in line]

    assert [line for _, line in KUBECTL if " logs -l " in line]
    assert short == []  # with a selector, and without --tail, kubectl shows the last ten lines of each pod


def test_steps_of_pipelines_are_looked_for_where_airflow_starts_them():
    chart = yaml.safe_load((ROOT / "gitops/platform/airflow/airflow.yaml").read_text(encoding="utf-8"))
    values = chart["spec"]["sources"][0]["helm"]["valuesObject"]
    namespace = values["config"]["kubernetes_executor"]["namespace"]
    named = [(line, found[1]) for _, line in KUBECTL if (found := re.search(r"dag_id=(\w+)", line))]

    assert named
    for line, dag in named:
        assert f"-n {namespace} " in line, line
        assert (ROOT / f"pipelines/dags/{dag}.py").is_file(), line


def logged(pattern):
    """Whether a program of ours writes such a line."""
    if pair := re.fullmatch(r'"(\w+)": (?:"([^"]*)"|(\d+))', pattern):
        key, text, digits = pair.groups()
        said = json.dumps({key: int(digits) if digits else text})[1:-1] == pattern
        return said and f'"{key}"' in (ROOT / "app/request_log.py").read_text(encoding="utf-8")
    sources = (path for room in ("app", "model") for path in (ROOT / room).rglob("*.py"))
    return any(pattern in path.read_text(encoding="utf-8") for path in sources)


def test_what_a_page_looks_for_in_a_log_is_what_programs_write():
    patterns = {each for _, line in KUBECTL for each in re.findall(r"grep (?:-i )?'?([^'|]+?)'?(?: \||$)", line)}
    routes = {each for pattern in patterns for each in re.findall(r'"route": "([^"]+)"', pattern)}
    served = (ROOT / "architecture/api.md").read_text(encoding="utf-8")

    assert len(patterns) > 4
    assert [each for each in patterns if not logged(each)] == []
    assert [each for each in routes if f" {each}`" not in served] == []
    assert not logged("generations were held")
    assert not logged('"level":"error"')


def test_secrets_that_pages_write_are_those_of_the_environment():
    known = (ROOT / "infra/environments/prod/platform.tfvars").read_text(encoding="utf-8")
    named = [found[1] for _, line in WITH_PIPES if (found := re.search(r"--secret-id adloom-prod/(\S+)", line))]

    assert named
    assert [name for name in named if f'"{name}"' not in known] == []


ANYWHERE = {"deploy", "truth"}
"""Need Git and addresses, and no store."""
BY_THE_LEDGER = {"models", "promote", "rollback"}
"""The index says where that is, and how they are asked for from elsewhere."""


def test_what_needs_a_store_in_production_is_run_in_a_pod_that_reaches_it():
    lines = [(page.name, line) for page in PAGES for text in blocks(page, "cluster") for line in lines_of(text)]
    bare = {(name, line.split()[1]) for name, line in lines if line.startswith("adloom ")}
    index = (FOLDER / "README.md").read_text(encoding="utf-8")

    assert {(name, word) for name, word in bare if word not in ANYWHERE | BY_THE_LEDGER} == set()
    assert all(f"`adloom {word}`" in index for word in ANYWHERE | BY_THE_LEDGER)


def test_files_that_pages_name_are_there():
    named = {
        each.rstrip(".,") for page in PAGES
        for each in re.findall(r"(?<![\w./])(?:gitops|infra|model|app)/[\w./-]+\w", page.read_text(encoding="utf-8"))
    }  # fmt: skip

    assert len(named) > 5
    assert [each for each in sorted(named) if not (ROOT / each).exists()] == []


def test_the_index_asks_the_data_source_that_grafana_has():
    chart = yaml.safe_load((ROOT / "gitops/platform/core/grafana.yaml").read_text(encoding="utf-8"))
    sources = chart["spec"]["source"]["helm"]["valuesObject"]["datasources"]["datasources.yaml"]["datasources"]
    index = (FOLDER / "README.md").read_text(encoding="utf-8")

    assert [f'/api/datasources/proxy/uid/{each["uid"]}"' in index for each in sources] == [True]
    assert f"svc/{chart['spec']['source']['helm']['releaseName']} " in index


def test_make_targets_that_runbooks_name_are_there():
    lines = [line for page in PAGES for text in blocks(page) for line in lines_of(text)]
    targets = {line.split()[1] for line in lines if line.startswith("make ")}

    assert targets
    assert targets <= set(make_targets())


def run(page, sections, environment, folder):
    """The local blocks of those headings of a procedure, in order."""
    text = (FOLDER / "procedures" / f"{page}.md").read_text(encoding="utf-8")
    parts = re.split(r"^## (.+)$", text, flags=re.MULTILINE)
    bodies = dict(zip(parts[1::2], parts[2::2], strict=True))
    printed = [
        run_block(block, environment, ROOT, folder / "commands.log", f"{page}, {section}")
        for section in sections
        for place, block in BLOCK.findall(bodies[section])
        if place != "cluster"
    ]
    assert printed, f"{page}: none of {sections} has a block to run"
    return printed


@pytest.fixture
def scene(tmp_path):
    for program in ("prometheus", "prometheus-alertmanager"):
        if shutil.which(program) is None:
            pytest.skip(f"needs {program}: apt-get install {program}")
    with Stack(tmp_path, speed=60, root=ROOT, is_embedded=True) as stack, Scene(stack) as made:
        yield made


def status_of(address, token):
    request = urllib.request.Request(address, headers={"Authorization": f"Bearer {token}"})
    try:
        return urllib.request.urlopen(request, timeout=60).status
    except urllib.error.HTTPError as error:
        return error.code


@pytest.mark.proof
def test_a_model_is_rolled_back_by_its_procedure(scene, tmp_path):
    scene.stack.deploy("2")
    wait_until(lambda: bool(scene.stack.query("adloom_truth_divergence == 1")), "the divergence")

    run("rollback-a-model", ["Before", "Steps", "How to know that it worked"], scene.environment(), tmp_path)

    wait_until(lambda: bool(scene.stack.query("adloom_truth_divergence == 0")), "all to agree again")
    assert scene.stack.environment["ADLOOM_REGISTRY_VERSION"] == "1"


@pytest.mark.proof
def test_keys_are_rotated_by_their_procedure(scene, tmp_path):
    environment = {**scene.environment(), "NEW_SECRET": str(tmp_path / "secret"), "ADLOOM_CLIENT_CACHE_SECONDS": "2"}
    batches = f"{scene.stack.service_url}/v1/batches"
    before = status_of(batches, environment["TOKEN"])
    run("rotate-keys", ["A client's secret"], environment, tmp_path)
    scene.stack.client_secret = (tmp_path / "secret").read_text().split("client_secret=")[1].strip()
    of_new_secret = scene.stack.token()
    run("rotate-keys", ["The key that signs tokens"], environment, tmp_path)
    of_new_key = scene.stack.token()
    after = [status_of(batches, token) for token in (environment["TOKEN"], of_new_secret, of_new_key)]
    run("rotate-keys", ["A key that was replaced by mistake"], environment, tmp_path)
    restored = [status_of(batches, token) for token in (of_new_secret, of_new_key)]

    assert before == 200
    assert after == [401, 401, 200]
    assert restored == [200, 401]


@pytest.mark.proof
def test_all_generation_is_stopped_and_begins_again(scene, tmp_path):
    run("stop-all-generation", ["All writing, quickly", "How to know that it worked"], scene.environment(), tmp_path)
    is_stopped = not scene.stack.parts["service"].is_running
    run("stop-all-generation", ["How to undo it"], scene.environment(), tmp_path)

    assert is_stopped
    assert scene.stack.token()


@pytest.mark.slow
def test_the_database_is_restored_to_what_its_backup_held(tmp_path):
    for program in ("pg_dump", "pg_restore", "createdb", "psql"):
        if shutil.which(program) is None:
            pytest.skip(f"needs {program}: apt-get install postgresql-client")
    with postgres_server() as server:
        server.sql("CREATE DATABASE adloom")
        database = Database(server.url("adloom"))
        database.upgrade()
        fill(database, 500)
        environment = {
            "PGHOST": "127.0.0.1", "PGPORT": str(server.port), "PGUSER": "postgres", "PGDATABASE": "adloom",
            "BACKUP": str(tmp_path / "adloom.dump"), "ADLOOM_DATABASE_URL": server.url("adloom"),
            "HOME": os.environ.get("HOME", "/"),
        }  # fmt: skip
        run("restore-the-database", ["Before"], environment, tmp_path)
        with database.begin() as connection:
            connection.exec_driver_sql("TRUNCATE creatives CASCADE")
        database.dispose()

        run("restore-the-database", ["Steps on one machine"], environment, tmp_path)
        known = run("restore-the-database", ["How to know that it worked"], environment, tmp_path)

        damaged = Database(server.url("adloom_damaged"))
        with damaged.connect() as connection:
            left = connection.exec_driver_sql(TABLE_ROWS).scalar_one()
        damaged.dispose()
    assert known[0].splitlines()[-1] == "500"
    assert left == 0  # put aside, not dropped


def fill(database, rows):
    """So many ads; what they say does not matter."""
    with database.begin() as connection:
        connection.exec_driver_sql(
            "INSERT INTO creatives (client, id, sku, channel, validity, bundle_digest, product_digest, document, "
            "product, created_at) SELECT 'shop', 'cr_' || n, 'S', 'x', 1, 'b', 'p', '{}', '{}', now() "
            f"FROM generate_series(1, {rows}) AS n"
        )
