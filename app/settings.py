"""
Everything the service reads from its environment, once, in `adloom serve`.

Knows no defaults that differ by environment: those stand in the manifests that set ADLOOM_* variables.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import BeforeValidator, Field
from pydantic_settings import BaseSettings, SettingsConfigDict


def _zero_where_empty(given: object) -> object:
    """An image that was built outside a repository has the variable all the same."""
    return 0 if given == "" else given


class Settings(BaseSettings):
    """
    Process configuration; each field is the variable ADLOOM_<FIELD>.

    Host and port are flags of `adloom serve` and not fields: Kubernetes sets ADLOOM_PORT=tcp://... in every pod
    beside a Service named `adloom`, and that must not become the port we listen on.
    """

    model_config = SettingsConfigDict(env_prefix="ADLOOM_", frozen=True, extra="forbid")

    bundle: Path = Path(".adloom/bundle")
    """Folder of the published model. Verified against its digests before anything is served."""

    threads: int = Field(default=0, ge=0, le=256)
    """Threads of the engine; 0 leaves the choice to it (one for each core)."""

    writers: int = Field(default=4, ge=1, le=64)
    """Requests written at once. 4 of 4 candidates fill the 16 rows that the engine steps together."""

    queue_depth_max: int = Field(default=16, ge=0)
    """
    Requests waiting beyond this are refused with 503.

    16 waiting requests of one creative each (1 to 2 s on two cores) are done within the default deadline;
    a longer queue would only turn refusals into deadlines.
    """

    request_timeout_seconds: float = Field(default=60.0, gt=0, le=3600)
    """From arrival to answer, waiting included; past it the answer is 504."""

    body_bytes_max: int = Field(default=256 * 1024, ge=1024)
    """Merchant Center takes descriptions of at most 5,000 characters: 256 KiB is generous, and cheap to parse."""

    candidates_max: int = Field(default=32, ge=1, le=32)
    """Creatives that one request may have written for each channel. The API promises at most 32; this lowers it."""

    pictures_drawn_at_once_max: int = Field(default=2, ge=1)
    """A 1080 x 1920 picture takes 8 MB of pixels while it is drawn, so this bounds memory as well as cores."""

    database_url: str = "sqlite:///.adloom/service/adloom.db"
    """SQLAlchemy address: SQLite for one process, postgresql+psycopg://... where replicas share."""

    objects_url: str = ".adloom/service/objects"
    """Folder, or s3://bucket/prefix; credentials and endpoint come from the AWS_* variables."""

    features_url: str = ""
    """http address of a Feast server that knows products by sku; empty: the newest catalogues are looked into."""

    write_queue_depth_max: int = Field(default=2048, ge=1)
    """Changes waiting for the database beyond this are refused with 503."""

    log_rows_max: int = Field(default=500, ge=1)
    """Generations that a crash may keep from the log, at most; older ones have been written."""

    log_flush_seconds: float = Field(default=5.0, gt=0)
    """Longest that a generation waits to be written to the log."""

    log_rows_held_max: int = Field(default=20_000, ge=1)
    """Generations held in memory while the object store is down; then the oldest are dropped, and counted."""

    issuer: str = ""
    """Address of the OIDC provider whose tokens are taken; empty: this service issues its own."""

    jwks_url: str = ""
    """Where the issuer's keys are; empty: what its discovery document says."""

    audience: str = "adloom"
    """What a token must be meant for."""

    issuer_key: Path = Path(".adloom/service/issuer.pem")
    """Private key of the local issuer, P-256; made where it is missing. Replicas need the same one."""

    token_seconds: int = Field(default=900, ge=10, le=86_400)
    """Life of a token of the local issuer."""

    clock_skew_seconds: int = Field(default=30, ge=0, le=300)
    """How far the issuer's clock may be from ours."""

    client_cache_seconds: float = Field(default=2.0, ge=0, le=300)
    """How long a revoked client may still be served: its row is read again after this."""

    proxy_headers: bool = False
    """Whether X-Forwarded-For counts as the address: only behind a proxy that sets it, and named to uvicorn."""

    limits_url: str = "memory://"
    """Where requests are counted: memory:// for one process, redis://host:port where replicas share."""

    limit_default: str = "600/minute"
    """Requests of one client to one route."""

    limits: dict[str, str] = {}
    """Other limits, by operation id; as JSON: {"writeCreatives": "60/minute"}. A client's own come before these."""

    batch_products_max: int = Field(default=10_000, ge=1, le=10_000)
    """Products of one batch. The API promises at most 10,000; this lowers it."""

    batch_body_bytes_max: int = Field(default=32 * 1024 * 1024, ge=1024)
    """Size of a batch or a catalogue as sent; both are held in memory while they are read."""

    batch_writers: int = Field(default=2, ge=0, le=64)
    """Products of batches written at once, beside `writers`; 0: this process takes batches and works on none."""

    git_commit: str = ""
    """Commit of the running code, for /version and every passport."""

    git_commit_timestamp_seconds: Annotated[int, BeforeValidator(_zero_where_empty)] = Field(default=0, ge=0)
    """When it was committed, Unix time, for the time from commit to served; 0 or empty: nobody knows."""

    registry_version: str = ""
    """Version of the running model in the registry, for every passport."""

    image_digest: str = ""
    """Digest of the running container image, for /version and every passport."""

    git_url: str = ""
    """Raw address (http, https, file) of this environment's model.env, for /v1/deployment; empty: Git is not asked."""

    git_token_file: str = ""
    """File with a token for `git_url`, read at each look; empty: none is sent."""

    ledger: str = ""
    """The promotion ledger's file, for /v1/deployment; empty: what the pipelines have published of it."""
