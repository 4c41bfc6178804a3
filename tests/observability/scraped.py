"""A scrape of the running service and exporter, after everything has happened that a label can tell of."""

from __future__ import annotations

import asyncio
import ssl
import threading
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from prometheus_client import CollectorRegistry, ProcessCollector, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from app.exporter import Exporter, Watched
from app.exporter_sources import all_sources
from model.store import pipeline_runs
from tests.app.exporter_stores import HOUR, UPLOADED, Stores, answering_version
from tests.app.service_client import DyingWriter, bearer, order, parts_of, service

Scrape = dict[str, list[dict[str, str]]]
"""Labels of every series, by the metric's name."""
DAGS = ("generate_batch", "ingest_catalogue", "monitor_drift", "release_writer", "rollback_writer", "train_writer")


def read(text: str) -> Scrape:
    found: Scrape = defaultdict(list)
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            found[sample.name].append(dict(sample.labels))
    return dict(found)


async def service_scrape() -> Scrape:
    """Of a service that wrote, refused and was asked by nobody it knows, and of one whose writer ended."""
    built = {"git_commit": "0123abc", "git_commit_timestamp_seconds": int(UPLOADED.timestamp())}
    async with service(limits={"listChannels": "1/minute"}, **built) as client:
        written = (await client.post("/v1/creatives", json=order())).json()
        creative = written["creatives"][0]["id"]
        await client.post(f"/v1/creatives/{creative}/feedback", json={"verdict": "accept"})
        for path in ("/v1/channels", "/v1/channels", "/nowhere", "/readyz", "/healthz", "/version", "/docs", "/"):
            await client.get(path)
        for path in ("/v2/health/live", "/v2", f"/v1/creatives/{creative}"):
            await client.get(path)
        await client.post("/v1/creatives", json=order(), headers={"Authorization": "Bearer wrong"})
        await client.post("/v1/creatives", json=order(), headers=bearer(parts_of(client), scopes=()))
        alive = read((await client.get("/metrics")).text)
    writer = DyingWriter()
    writer.gate.set()
    async with service(writer) as client:
        await client.post("/v1/creatives", json=order())
        await client.get("/readyz")
        dead = read((await client.get("/metrics")).text)
    return {name: alive.get(name, []) + dead.get(name, []) for name in {*alive, *dead}}


def exporter_scrape(folder: Path) -> Scrape:
    """Of an exporter whose stores hold one of everything."""
    stores = Stores(folder)
    stores.database.upgrade()
    stores.upload("new", 120, UPLOADED)
    stores.order_batch(1)
    stores.promote(7)
    stores.report_drift(UPLOADED, 0.25, hurts=True, category=(0.4, 0.1, 0.2), validity=(0.01, 0.02, 0.01))
    stores.retrain("drift", "failed", UPLOADED)
    with stores.database.begin() as connection:
        for dag in DAGS:
            for number, state in enumerate(("succeeded", "failed", "late")):
                at = UPLOADED + number * HOUR
                pipeline_runs.record(connection, dag, f"run{number}", "", state, at)  # type: ignore[arg-type]
    with answering_version() as (address, _), https_server(folder) as secured:
        sources = all_sources(stores.database, stores.ledger_path, address, certificate_url=secured)
        watched = [Watched(name, source, 30.0) for name, source in sources.items()]
        for each in watched:
            each.read_once()
        registry = CollectorRegistry()
        registry.register(Exporter(watched))
        ProcessCollector(registry=registry)
        text = generate_latest(registry).decode()
    stores.database.dispose()
    return read(text)


def whole_scrape(folder: Path) -> Scrape:
    """Both, each series with its job."""
    found: Scrape = defaultdict(list)
    for job, scrape in (
        ("adloom-api", asyncio.run(service_scrape())),
        ("adloom-exporter", exporter_scrape(folder)),
    ):
        for name, series in scrape.items():
            found[name] += [{**labels, "job": job} for labels in series]
    return dict(found)


@contextmanager
def https_server(folder: Path, ends: datetime | None = None) -> Iterator[str]:
    """Shows a certificate of its own making, which ends then; its address."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    end = ends or datetime.now(UTC) + timedelta(days=90)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(end - timedelta(days=365))
        .not_valid_after(end)
        .sign(key, hashes.SHA256())
    )
    file = folder / "certificate.pem"
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    file.write_bytes(made.public_bytes(serialization.Encoding.PEM) + private)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(file)
    server = _Quiet(("127.0.0.1", 0), BaseHTTPRequestHandler)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    try:
        yield f"https://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        with suppress(OSError):
            server.server_close()


class _Quiet(ThreadingHTTPServer):
    def handle_error(self, *_: object) -> None:
        """A client that only looks at the certificate says no word of HTTP."""
