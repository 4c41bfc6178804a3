"""The exporter's port: formats, compression, and what is out of the ordinary."""

from __future__ import annotations

import gzip
import socket
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator

import pytest
from prometheus_client import CollectorRegistry, Counter, generate_latest
from prometheus_client.openmetrics.exposition import generate_latest as generate_openmetrics

from app.exporter_server import listen


@pytest.fixture
def registry() -> CollectorRegistry:
    made = CollectorRegistry()
    for name in ("adloom_one", "adloom_two"):
        Counter(name, "Counts.", ["dag"], registry=made).labels("ingest_catalogue").inc()
    return made


@pytest.fixture
def address(registry: CollectorRegistry) -> Iterator[str]:
    server = listen(registry, "127.0.0.1", 0)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


def ask(address: str, method: str = "GET", **headers: str) -> tuple[bytes, dict[str, str]]:
    request = urllib.request.Request(address, method=method, headers=headers)
    with urllib.request.urlopen(request, timeout=60) as answer:
        return answer.read(), dict(answer.headers)


def test_prometheus_gets_openmetrics_compressed_as_it_asks_for(address: str, registry: CollectorRegistry) -> None:
    asked = {"Accept": "application/openmetrics-text;version=1.0.0,text/plain;q=0.5", "Accept-Encoding": "gzip"}
    content, headers = ask(f"{address}/metrics", **asked)

    assert headers["Content-Type"].startswith("application/openmetrics-text; version=1.0.0; charset=utf-8")
    assert headers["Content-Encoding"] == "gzip"
    assert gzip.decompress(content) == generate_openmetrics(registry)


def test_a_person_gets_plain_text(address: str, registry: CollectorRegistry) -> None:
    content, headers = ask(address)

    assert headers["Content-Type"] == "text/plain; version=0.0.4; charset=utf-8"
    assert "Content-Encoding" not in headers
    assert content == generate_latest(registry)


def test_a_part_can_be_asked_for_by_name(address: str) -> None:
    content, _ = ask(f"{address}/metrics?name[]=adloom_one_total")

    assert b"adloom_one_total{" in content
    assert b"adloom_two" not in content


def test_another_method_is_refused(address: str) -> None:
    with pytest.raises(urllib.error.HTTPError, match="405"):
        ask(address, method="POST")


def test_it_listens_on_ipv6_too(registry: CollectorRegistry) -> None:
    try:
        server = listen(registry, "::1", 0)
    except OSError:
        pytest.skip("needs IPv6 on this machine")
    server.server_close()

    assert server.address_family == socket.AF_INET6
