"""Faults of what the service and the exporter lean on: database, object store, Redis, ledger, certificate."""

from __future__ import annotations

from collections.abc import Callable

from app.drill.certificate import TlsServer
from app.drill.fault import Fault
from app.drill.scene import Scene

FEW_HELD = {"ADLOOM_LOG_ROWS_HELD_MAX": "20", "ADLOOM_LOG_ROWS_MAX": "5"}
EXPIRES_DAYS = 10


def lose(part: str) -> Callable[[Scene], None]:
    """The part is gone while merchants go on asking."""

    def inject(scene: Scene) -> None:
        scene.start_traffic()
        scene.stack.crash(part)

    return inject


def lose_objects(scene: Scene) -> None:
    """A file stands where the folder was: nothing can be written, whoever asks, even root."""
    away = scene.stack.objects.with_name("objects.away")
    scene.notes["OBJECTS_AWAY"] = str(away)
    scene.start_traffic()
    scene.stack.objects.rename(away)
    scene.stack.objects.write_text("", encoding="utf-8")


def edit_ledger(scene: Scene) -> None:
    """Somebody put a line in by hand. What it was before lies beside it, as the bucket keeps every version."""
    ledger = scene.stack.ledger
    kept = ledger.with_suffix(".kept")
    scene.notes["LEDGER_KEPT"] = str(kept)
    kept.write_bytes(ledger.read_bytes())
    ledger.write_bytes(ledger.read_bytes() + b'{"action": "promote", "to": 9}\n')


def shorten_certificate(scene: Scene) -> None:
    """The load balancer's certificate was never renewed."""
    server = TlsServer(scene.stack.folder)
    server.start(EXPIRES_DAYS)
    scene.closers.append(server.close)
    scene.notes |= {"CERTIFICATE": str(server.certificate), "PRIVATE_KEY": str(server.key)}
    exporter = scene.stack.parts["exporter"]
    exporter.stop()
    exporter.command = [*exporter.command, "--certificate", server.url]
    exporter.start()


STORE_FAULTS = (
    Fault("AdloomDatabaseDown", "PostgreSQL is killed", lose("database"), needs=("database",)),
    Fault("AdloomLimitsStoreDown", "Redis is killed", lose("limits"), needs=("limits",)),
    Fault("AdloomObjectStoreDown", "nothing can be written to the object store's folder", lose_objects),
    Fault(
        "AdloomGenerationLogDropped",
        "the object store is away longer than the service can remember (20 generations, here)",
        lose_objects,
        settings=FEW_HELD,
    ),
    Fault("AdloomExporterSourceStale", "a line was put into the promotion ledger by hand", edit_ledger),
    Fault(
        "AdloomCertificateExpiring",
        f"the watched address shows a certificate that ends in {EXPIRES_DAYS} days",
        shorten_certificate,
    ),
)
