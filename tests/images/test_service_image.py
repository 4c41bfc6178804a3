"""The service's image in a real engine: what is in it, and that it serves, stops and starts as a cluster wants it."""

from __future__ import annotations

import json
import mmap
import subprocess
import threading
import time

import httpx
import pytest

from tests.images.conftest import MARK
from tests.images.registry import NAME, PASSWORD

pytestmark = pytest.mark.proof

SIZE_BYTES_MAX = 500_000_000
BOWL = {"product": {"sku": "BOWL", "title": "Blue ceramic bowl", "description": "Holds 0.5 l."}, "channels": ["x"]}
GRACE_SECONDS = 30
"""terminationGracePeriodSeconds is longer; a service that is idle but for our load needs far less."""


@pytest.fixture(scope="module")
def data(engine):
    with engine.volume() as name:
        yield ["--volume", f"{name}:/data"]


@pytest.fixture(scope="module")
def secret(engine, image, data):
    return new_client(engine, image, data)


def new_client(engine, image, options):
    scopes = [flag for scope in ("creatives:write", "creatives:read") for flag in ("--scope", scope)]
    said = engine.once(image, "client", "create", "shop", *scopes, options=options)
    return dict(line.split("=", 1) for line in said.splitlines())["client_secret"]


def signed_in(url, secret):
    form = {"grant_type": "client_credentials", "client_id": "shop", "client_secret": secret}
    token = httpx.post(f"{url}/v1/token", data=form, timeout=30).raise_for_status().json()["access_token"]
    return httpx.Client(base_url=url, headers={"Authorization": f"Bearer {token}"}, timeout=60)


def test_the_image_is_small_and_says_what_it_holds(engine, image, registry, measured):
    found = engine.inspect(image)
    labels, environment = found["Config"]["Labels"], dict(pair.split("=", 1) for pair in found["Config"]["Env"])
    version = max(registry.bundles)
    asked = ["git", "log", "-1", "--format=%H %ct"]
    commit, committed = subprocess.run(asked, capture_output=True, text=True, check=True).stdout.split()

    assert labels["org.adloom.bundle.digest"] == registry.bundles[version]
    assert labels["org.adloom.model.version"] == environment["ADLOOM_REGISTRY_VERSION"] == str(version)
    assert environment["ADLOOM_GIT_COMMIT"].removesuffix("-dirty") == commit
    assert environment["ADLOOM_GIT_COMMIT_TIMESTAMP_SECONDS"] == committed
    assert labels["org.opencontainers.image.revision"] == environment["ADLOOM_GIT_COMMIT"]
    assert labels["org.opencontainers.image.licenses"] == "Apache-2.0"
    assert found["Config"]["User"] == "10001:10001"
    assert found["Config"]["Healthcheck"] == {"Test": ["NONE"]}
    assert found["Size"] <= SIZE_BYTES_MAX
    measured["service_image_megabytes"] = round(found["Size"] / 1e6, 1)
    measured["real_model"] = len(registry.bundles) == 2


def test_nothing_that_trains_builds_or_installs_is_in_the_image(engine, image):
    packages = engine.once(image, "/opt/adloom/packages/lib/python3.11/site-packages", entrypoint="ls").split()
    programs = engine.once(image, "-c", "ls /usr/bin /bin /usr/local/bin /opt/adloom/*/bin", entrypoint="sh").split()
    # As root, who may look everywhere; the last word says that the look came to its end.
    look = "for each in /var/cache/pip ~root/.cache /run/secrets; do [ ! -e $each ] || ls -A $each; done; echo looked"
    caches = engine.once(image, "-c", look, options=["--user", "0"], entrypoint="sh")

    assert {"onnxruntime", "tokenizers", "fastapi"} <= set(packages)
    unwanted = {"torch", "mlflow", "transformers", "optimum", "peft", "onnx", "airflow", "pandas", "pip", "setuptools"}
    assert not unwanted & set(packages)
    assert "adloom" in programs
    assert not {"gcc", "cc", "g++", "ld", "make", "strip", "git", "curl"} & set(programs)
    assert caches == "looked"


def test_no_secret_of_the_build_is_in_a_layer_or_in_the_history(engine, image, registry, tmp_path):
    archive = tmp_path / "image.tar"
    engine.call("save", "--output", archive, image)
    history = engine.call("history", "--no-trunc", "--format", "{{.CreatedBy}}", image)
    address = registry.uri.removeprefix("http://")

    with archive.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        assert content.find(b"ADLOOM_REGISTRY_VERSION") > 0  # it is not compressed: what stands in it is found
        for each in (PASSWORD, json.dumps(PASSWORD)[1:-1], f"{NAME}:", MARK, address):
            assert content.find(each.encode()) == -1, f"{each[:4]}... stands in the image"
    assert "MLFLOW_TRACKING" not in history


def test_it_serves_as_an_unprivileged_user_on_a_read_only_root(engine, image, data, secret, registry, measured):
    with engine.running(image, "serve", options=data) as box:
        box.wait("/readyz")
        measured["ready_seconds"] = round(box.ready_seconds, 2)
        measured["resident_megabytes_after_start"] = round(box.megabytes())
        assert httpx.post(f"{box.url}/v1/creatives", json=BOWL, timeout=60).status_code == 401
        with signed_in(box.url, secret) as client:
            answer = client.post("/v1/creatives", json=BOWL)
            creative = answer.json()["creatives"][0]
            for seed in range(8):
                client.post("/v1/creatives", json=BOWL | {"seed": seed}).raise_for_status()
        measured["resident_megabytes_after_requests"] = round(box.megabytes())
        who = engine.call("exec", box.identity, "id", "-u")
        touched = engine.call("exec", box.identity, "sh", "-c", "touch /opt/x 2>&1 || true")

    assert answer.status_code == 200
    assert creative["passport"]["bundle_digest"] == registry.bundles[max(registry.bundles)]
    assert creative["passport"]["registry_version"] == str(max(registry.bundles))
    assert who == "10001"
    assert "Read-only" in touched


def test_it_serves_on_postgresql_after_its_own_migrations(engine, image, postgres, data):
    options = ["--env", f"ADLOOM_DATABASE_URL={postgres.new_database()}", *data]
    engine.once(image, "database", "upgrade", options=options)
    secret = new_client(engine, image, options)
    with engine.running(image, "serve", options=options) as box:
        box.wait("/readyz")
        with signed_in(box.url, secret) as client:
            written = client.post("/v1/creatives", json=BOWL).json()["creatives"][0]
            read = client.get(f"/v1/creatives/{written['id']}").json()

    assert read["headline"] == written["headline"]


def test_the_exporter_is_the_same_image_with_another_command(engine, image, data, secret):
    options = [*data, "--entrypoint", "adloom-exporter"]
    with engine.running(image, options=options) as box:
        box.wait("/metrics")
        text = httpx.get(f"{box.url}/metrics", timeout=60).text

    assert "adloom_exporter_source_up" in text


def test_what_was_acknowledged_under_load_outlives_sigterm(engine, image, data, secret, measured):
    with engine.running(image, "serve", options=data) as box:
        box.wait("/readyz")
        with signed_in(box.url, secret) as client:
            kept, lost, stopped = under_load(client, lambda: engine.call("stop", "-t", GRACE_SECONDS, box.identity))
        measured["stop_seconds_under_load"] = round(stopped, 2)
        state = box.state()
    with engine.running(image, "serve", options=data) as again:
        again.wait("/readyz")
        with signed_in(again.url, secret) as client:
            missing = [each for each in kept if client.get(f"/v1/creatives/{each}").status_code != 200]
    measured["acknowledged_before_sigterm"] = len(kept)

    assert state["ExitCode"] == 0  # 137 where the grace period was over
    assert not state["OOMKilled"]
    assert len(kept) >= 8
    assert lost == []
    assert missing == []


def under_load(client, stop):
    """
    Four clients write until the service has stopped: ids it acknowledged, what it took and did not answer, seconds.

    A connection that nobody accepts any more is not lost: a load balancer sends it elsewhere.
    """
    kept, lost, begun = [], [], threading.Event()

    def write(seed):
        while True:
            seed += 4
            try:
                answer = client.post("/v1/creatives", json=BOWL | {"seed": seed})
            except httpx.ConnectError:
                return
            except httpx.TransportError as error:
                lost.append(repr(error))
                return
            if answer.status_code == 200:
                kept.extend(each["id"] for each in answer.json()["creatives"])
            else:
                lost.append(answer.text)
            if len(kept) >= 8:
                begun.set()

    threads = [threading.Thread(target=write, args=(number,)) for number in range(4)]
    for each in threads:
        each.start()

    assert begun.wait(180)
    since = time.monotonic()
    stop()
    seconds = time.monotonic() - since
    for each in threads:
        each.join(GRACE_SECONDS)
    return kept, lost, seconds
