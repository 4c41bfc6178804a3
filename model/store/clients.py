"""Who may call: names, hashed secrets, scopes and limits. Knows no token; app/tokens.py asks here who is revoked."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

import sqlalchemy as sa
from sqlalchemy import Connection, Row

from model.store.tables import StoreError, clients, insert_new


class ClientExistsError(StoreError):
    """The name is taken, perhaps by a revoked client: names are never given twice."""


@dataclass(frozen=True, slots=True)
class Client:
    """One registered client. The secret itself is nowhere."""

    name: str
    secret_hash: str
    scopes: frozenset[str]
    limits: Mapping[str, str]
    """Operation id to a limit, "60/minute", that counts before every other."""
    created_at: datetime
    secret_at: datetime
    """When the present secret was made; tokens issued before it are of an older one."""
    revoked_at: datetime | None = None


def insert(connection: Connection, client: Client) -> None:
    """Raises ClientExistsError."""
    statement = insert_new(connection, clients).values(
        name=client.name,
        secret_hash=client.secret_hash,
        scopes=" ".join(sorted(client.scopes)),
        limits=dict(client.limits),
        created_at=client.created_at,
        secret_at=client.secret_at,
        revoked_at=client.revoked_at,
    )
    if connection.execute(statement).rowcount != 1:
        raise ClientExistsError(f"there is a client {client.name!r} already; choose another name")


def find(connection: Connection, name: str) -> Client | None:
    """Revoked ones too: look at `revoked_at`."""
    row = connection.execute(sa.select(clients).where(clients.c.name == name)).one_or_none()
    return None if row is None else _client(row)


def listed(connection: Connection) -> list[Client]:
    """Every client, revoked ones too, by name."""
    return [_client(row) for row in connection.execute(sa.select(clients).order_by(clients.c.name))]


def revoke(connection: Connection, name: str, at: datetime) -> bool:
    """False where there is no such client, or none that was not revoked before: the first time stands."""
    statement = sa.update(clients).where(clients.c.name == name, clients.c.revoked_at.is_(None))
    return connection.execute(statement.values(revoked_at=at)).rowcount == 1


def rotate(connection: Connection, name: str, secret_hash: str, at: datetime) -> bool:
    """A new secret from `at` on. False where there is no such client, or it is revoked."""
    statement = sa.update(clients).where(clients.c.name == name, clients.c.revoked_at.is_(None))
    return connection.execute(statement.values(secret_hash=secret_hash, secret_at=at)).rowcount == 1


def _client(row: Row[tuple[object, ...]]) -> Client:
    values = dict(row._mapping)  # noqa: SLF001 -- public in spite of its name, SQLAlchemy documents it
    return Client(**values | {"scopes": frozenset(values["scopes"].split())})
