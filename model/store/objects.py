"""
Bytes by key: a folder, or a bucket of S3 and what speaks like it.

Knows no content. An object is there whole or not at all; the latest put of a key wins.
"""

from __future__ import annotations

import io
import os
import re
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from types import MappingProxyType
from typing import IO, Any, Protocol
from urllib.parse import urlsplit

from model.store.tables import StoreError

KEY_CHARS_MAX = 512
"""S3 takes 1,024 bytes, prefix included."""
CHUNK_BYTES = 1024 * 1024
"""Of a file on its way."""
CONNECT_SECONDS = 2
READ_SECONDS = 10
ATTEMPTS = 2
"""With the waits above, a bucket that is gone is known to be gone within half a minute."""

BUCKET_REASONS: Mapping[str, str] = MappingProxyType(
    {
        "403": "it refuses our credentials",
        "404": "there is no such bucket",
        "AccessDenied": "it refuses our credentials",
        "ExpiredToken": "our credentials have expired",
        "InvalidAccessKeyId": "it refuses our credentials",
        "NoSuchBucket": "there is no such bucket",
        "SignatureDoesNotMatch": "it refuses our credentials",
        "SlowDown": "it is overloaded",
    }
)
"""By error code; HEAD has no body to hold one, and gives the status."""

_KEY = re.compile(r"[A-Za-z0-9_=-][A-Za-z0-9._=-]{0,199}(?:/[A-Za-z0-9_=-][A-Za-z0-9._=-]{0,199})*")
"""No part begins with a dot: that keeps out "..", and names that we use ourselves."""
_TEMPORARY = ".put-"


class ObjectStoreDownError(StoreError):
    """The folder or bucket is not there, full or read-only; the same call may succeed later."""


class ObjectMissingError(StoreError):
    """No object has this key."""


class _Place(Protocol):
    """Where the bytes are. Keys are checked before they come here."""

    def put(self, key: str, content: bytes) -> None: ...

    def put_file(self, key: str, path: Path) -> None: ...

    def get(self, key: str) -> bytes: ...

    def get_file(self, key: str, path: Path) -> None: ...

    def keys(self, prefix: str) -> Iterator[str]: ...

    def lines(self, key: str) -> Iterator[bytes]: ...

    def open(self, key: str) -> tuple[int, Iterator[bytes]]: ...

    def remove(self, key: str) -> None: ...

    def ping(self) -> None: ...


class ObjectStore:
    """One folder or bucket; connects to nothing before it is used. Threads may share it."""

    def __init__(self, url: str, *, options: Mapping[str, Any] | None = None) -> None:
        """
        `url` is a folder, or s3://bucket/prefix; `options` go to boto3's client where the AWS_* variables do not do.

        Raises ValueError for any other address.
        """
        address = urlsplit(url)
        self._place: _Place
        if address.scheme == "s3" and address.netloc:
            self._place = _Bucket(address.netloc, address.path.strip("/"), options or {})
        elif "://" not in url and url:
            self._place = _Folder(Path(url))
        else:
            raise ValueError("the object store's address must be a folder, or s3://bucket/prefix")

    def put(self, key: str, content: bytes) -> None:
        """Keep `content`. Raises ObjectStoreDownError, and then the key has its earlier content or none."""
        self._place.put(checked(key), content)

    def get(self, key: str) -> bytes:
        """Raises ObjectMissingError or ObjectStoreDownError."""
        return self._place.get(checked(key))

    def put_file(self, key: str, path: Path) -> None:
        """As `put`, of a file of up to 5 GB that is never in memory. Raises OSError where `path` cannot be read."""
        with path.open("rb"):  # its errors are the caller's, and those of the store are ours
            pass
        self._place.put_file(checked(key), path)

    def get_file(self, key: str, path: Path) -> None:
        """
        As `get`, into a file that is written over, and never in memory.

        Raises OSError where `path` cannot be opened; on any other error what it holds is worth nothing.
        """
        with path.open("wb"):
            pass
        self._place.get_file(checked(key), path)

    def list(self, prefix: str) -> list[str]:
        """Every key that begins with `prefix`, sorted; a prefix is a whole key or ends in a slash, or is empty."""
        if prefix:
            checked(prefix.removesuffix("/"))
        return sorted(self._place.keys(prefix))

    def open_lines(self, key: str) -> Iterator[bytes]:
        """The lines of an object without their ends, as they are read. Raises as `get`, also between two lines."""
        return self._place.lines(checked(key))

    def open_chunks(self, key: str) -> tuple[int, Iterator[bytes]]:
        """Size in bytes, and the parts of an object, `CHUNK_BYTES` each at most. Raises as `get`, between parts too."""
        return self._place.open(checked(key))

    def remove(self, key: str) -> None:
        """Afterwards no object has this key, whether one had it or not. Raises ObjectStoreDownError."""
        self._place.remove(checked(key))

    def ping(self) -> None:
        """Raises ObjectStoreDownError where nothing could be put: a folder is tried, a bucket is asked for."""
        self._place.ping()


def checked(key: str) -> str:
    """The key. Raises ValueError where it could be read as another place, by any store."""
    if len(key) > KEY_CHARS_MAX or not _KEY.fullmatch(key):
        raise ValueError("a key has parts of letters, digits and . _ = -, between slashes, and none begins with a dot")
    return key


class _Folder:
    def __init__(self, root: Path) -> None:
        self._root = root

    def put(self, key: str, content: bytes) -> None:
        self._put(key, io.BytesIO(content))

    def put_file(self, key: str, path: Path) -> None:
        with _folder_errors(), path.open("rb") as content:
            self._put(key, content)

    def _put(self, key: str, content: IO[bytes]) -> None:
        target = self._root / key
        with _folder_errors():
            target.parent.mkdir(parents=True, exist_ok=True)
            descriptor, name = tempfile.mkstemp(prefix=_TEMPORARY, dir=target.parent)
            try:
                with os.fdopen(descriptor, "wb") as file:
                    shutil.copyfileobj(content, file, CHUNK_BYTES)
                    file.flush()
                    os.fsync(file.fileno())  # or a power cut leaves the name and not the bytes
                Path(name).chmod(0o644)
                Path(name).replace(target)
            except BaseException:
                Path(name).unlink(missing_ok=True)
                raise

    def get(self, key: str) -> bytes:
        with _folder_errors(missing=True):
            return (self._root / key).read_bytes()

    def get_file(self, key: str, path: Path) -> None:
        with _folder_errors(missing=True), (self._root / key).open("rb") as content, path.open("wb") as file:
            shutil.copyfileobj(content, file, CHUNK_BYTES)

    def keys(self, prefix: str) -> Iterator[str]:
        start = self._root / prefix if prefix else self._root
        with _folder_errors():
            if start.is_file():
                yield prefix
            for folder, _, names in os.walk(start, onerror=_raise_unless_missing):
                place = Path(folder).relative_to(self._root)
                yield from ((place / name).as_posix() for name in names if not name.startswith("."))

    def lines(self, key: str) -> Iterator[bytes]:
        with _folder_errors(missing=True), (self._root / key).open("rb") as file:
            for line in file:
                yield line.rstrip(b"\r\n")

    def open(self, key: str) -> tuple[int, Iterator[bytes]]:
        with _folder_errors(missing=True), (self._root / key).open("rb") as file:  # a folder is no object
            return os.fstat(file.fileno()).st_size, self._chunks(key)

    def _chunks(self, key: str) -> Iterator[bytes]:
        with _folder_errors(missing=True), (self._root / key).open("rb") as file:
            while chunk := file.read(CHUNK_BYTES):
                yield chunk

    def remove(self, key: str) -> None:
        with _folder_errors(), suppress(FileNotFoundError, NotADirectoryError):
            (self._root / key).unlink()

    def ping(self) -> None:
        with _folder_errors():
            self._root.mkdir(parents=True, exist_ok=True)
            with tempfile.NamedTemporaryFile(prefix=_TEMPORARY, dir=self._root) as file:
                file.write(b"\0")
                file.flush()


class _Bucket:
    def __init__(self, bucket: str, prefix: str, options: Mapping[str, Any]) -> None:
        from boto3.session import Session  # noqa: PLC0415 -- a third of a second that a folder need not pay
        from botocore.config import Config  # noqa: PLC0415 -- as above

        config = Config(
            connect_timeout=CONNECT_SECONDS,
            read_timeout=READ_SECONDS,
            retries={"total_max_attempts": ATTEMPTS, "mode": "standard"},
            request_checksum_calculation="when_required",  # not all that speaks S3 knows the newer checksums
            response_checksum_validation="when_required",
        )
        self._client = Session().client("s3", config=config, **options)  # boto3's own session is everybody's
        self._bucket = bucket
        self._prefix = f"{prefix}/" if prefix else ""

    def put(self, key: str, content: bytes) -> None:
        with _bucket_errors():
            self._client.put_object(**self._named(key), Body=content)

    def put_file(self, key: str, path: Path) -> None:
        with _bucket_errors(), path.open("rb") as content:
            self._client.put_object(**self._named(key), Body=content)

    def get(self, key: str) -> bytes:
        with _bucket_errors():
            content: bytes = self._client.get_object(**self._named(key))["Body"].read()
            return content

    def get_file(self, key: str, path: Path) -> None:
        with _bucket_errors(), path.open("wb") as file:
            for chunk in self._client.get_object(**self._named(key))["Body"].iter_chunks(CHUNK_BYTES):
                file.write(chunk)

    def keys(self, prefix: str) -> Iterator[str]:
        asked = self._prefix + prefix
        with _bucket_errors():
            pages = self._client.get_paginator("list_objects_v2").paginate(Bucket=self._bucket, Prefix=asked)
            for page in pages:
                for found in page.get("Contents", ()):
                    key = found["Key"]
                    # S3's prefix is of characters, and "a" finds "ab" too; ours is of parts.
                    if not prefix or asked.endswith("/") or key == asked or key.startswith(f"{asked}/"):
                        yield key.removeprefix(self._prefix)

    def lines(self, key: str) -> Iterator[bytes]:
        with _bucket_errors():
            yield from self._client.get_object(**self._named(key))["Body"].iter_lines()

    def open(self, key: str) -> tuple[int, Iterator[bytes]]:
        with _bucket_errors():
            answer = self._client.get_object(**self._named(key))
        return answer["ContentLength"], self._chunks(answer["Body"])

    def _chunks(self, body: Any) -> Iterator[bytes]:
        with _bucket_errors():
            yield from body.iter_chunks(CHUNK_BYTES)

    def remove(self, key: str) -> None:
        with _bucket_errors():
            self._client.delete_object(**self._named(key))

    def ping(self) -> None:
        with _bucket_errors():
            self._client.head_bucket(Bucket=self._bucket)

    def _named(self, key: str) -> dict[str, str]:
        return {"Bucket": self._bucket, "Key": self._prefix + key}


@contextmanager
def _folder_errors(*, missing: bool = False) -> Iterator[None]:
    """Errors of files as ours, without their paths; `missing` where a file that is not there is a missing object."""
    try:
        yield
    except OSError as error:
        if missing and isinstance(error, FileNotFoundError | IsADirectoryError | NotADirectoryError):
            raise ObjectMissingError("no object has this key") from error
        reason = error.strerror or type(error).__name__
        raise ObjectStoreDownError(f"the object store cannot be used: {reason}") from error


@contextmanager
def _bucket_errors() -> Iterator[None]:
    """Errors of boto3 as ours, without endpoint, bucket or key id."""
    from botocore.exceptions import BotoCoreError, ClientError  # noqa: PLC0415 -- as in _Bucket

    try:
        yield
    except ClientError as error:
        code = str(error.response.get("Error", {}).get("Code", ""))
        if code == "NoSuchKey":
            raise ObjectMissingError("no object has this key") from error
        reason = BUCKET_REASONS.get(code, "it answers with an error")
        raise ObjectStoreDownError(f"the object store cannot be used: {reason}") from error
    except BotoCoreError as error:
        reason = "we have no credentials" if "Credentials" in type(error).__name__ else "it cannot be reached"
        raise ObjectStoreDownError(f"the object store cannot be used: {reason}") from error


def _raise_unless_missing(error: OSError) -> None:
    """For os.walk, which is otherwise silent about a folder that it may not read."""
    if not isinstance(error, FileNotFoundError | NotADirectoryError):
        raise error
