"""
Everything the service reads from its environment, once, in `adloom serve`.

Knows no defaults that differ by environment: those stand in the manifests that set ADLOOM_* variables.
"""

from __future__ import annotations

from pathlib import Path

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict


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

    creatives_kept_max: int = Field(default=1000, ge=1)
    """Creatives that stay in memory for GET, a few kB each; the least recently used go first."""

    pictures_drawn_at_once_max: int = Field(default=2, ge=1)
    """A 1080 x 1920 picture takes 8 MB of pixels while it is drawn, so this bounds memory as well as cores."""

    git_commit: str = ""
    """Commit of the running code, for /version and every passport."""

    image_digest: str = ""
    """Digest of the running container image, for /version and every passport."""
