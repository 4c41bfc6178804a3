"""Every store twice: the embedded default, and what production runs."""

from __future__ import annotations

import shutil
import uuid
from contextlib import contextmanager

import pytest
import sqlalchemy as sa

from model.store.objects import ObjectStore
from model.store.tables import Database, metadata
from tests.real_parts import postgres_server, s3_server


@pytest.fixture(scope="session")
def postgres():
    with postgres_server() as server:
        yield server


@pytest.fixture(scope="session")
def s3():
    with s3_server() as server:
        yield server


@pytest.fixture(params=["sqlite", "postgresql"])
def empty_url(request, tmp_path):
    """The address of a database without tables."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/kept/adloom.db"
    return request.getfixturevalue("postgres").new_database()


@pytest.fixture(scope="session")
def upgraded_file(tmp_path_factory):
    """An upgrade takes a quarter of a second: tests of anything else share its result."""
    file = tmp_path_factory.mktemp("upgraded") / "adloom.db"
    with opened(f"sqlite:///{file}"):
        return file


@pytest.fixture(scope="session")
def upgraded_url(postgres):
    url = postgres.new_database()
    with opened(url):
        return url


@pytest.fixture
def sqlite_database(upgraded_file, tmp_path):
    shutil.copy(upgraded_file, tmp_path / "adloom.db")
    with opened(f"sqlite:///{tmp_path}/adloom.db") as database:
        yield database


@pytest.fixture
def postgres_database(upgraded_url):
    with opened(upgraded_url) as database:
        with database.begin() as connection:
            connection.execute(sa.text(f"TRUNCATE {', '.join(metadata.tables)}"))
        yield database


@pytest.fixture(params=["sqlite", "postgres"])
def database(request):
    """With every table, and no row."""
    return request.getfixturevalue(f"{request.param}_database")


@contextmanager
def opened(url):
    database = Database(url)
    database.upgrade()
    try:
        yield database
    finally:
        database.dispose()


@pytest.fixture
def bucket(s3, monkeypatch):
    """s3://..., with the environment that leads there."""
    for name, value in s3.environment.items():
        monkeypatch.setenv(name, value)
    return f"s3://{s3.new_bucket()}/below/here"


@pytest.fixture(scope="session")
def one_bucket(s3):
    return ObjectStore(f"s3://{s3.new_bucket()}", options=s3.options)


@pytest.fixture(params=["folder", "s3"])
def objects(request, tmp_path):
    """Empty."""
    if request.param == "folder":
        return ObjectStore(str(tmp_path / "objects"))
    # Half a second goes into making a client of S3: tests share one, each below a prefix of its own.
    store = request.getfixturevalue("one_bucket")
    store._place._prefix = f"below/{uuid.uuid4().hex}/"
    return store
