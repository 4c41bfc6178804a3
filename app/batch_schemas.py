"""
Batches and catalogue snapshots over HTTP, as pydantic models.

Knows the form alone. The products of a batch are taken one by one, so that a bad one never stops the rest.
"""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal, Self

from fastapi import Query
from pydantic import BaseModel, ConfigDict, Field, model_validator

from app.schemas import CANDIDATES_MAX, SEED_MAX, ChannelName, Voice
from model.prompt import VOICES

BATCH_PRODUCTS_MAX = 10_000
BATCH_ID_PATTERN = "^ba_[0-9a-f]{32}$"
SNAPSHOT_DIGEST_PATTERN = "^[0-9a-f]{64}$"

BatchState = Literal["queued", "running", "done", "cancelled", "failed"]
ProductRow = Annotated[
    dict[str, Any],
    Field(description="As `product` of `POST /v1/creatives`; one that is no product becomes a failed item."),
]
AfterQuery = Annotated[
    int,
    Query(
        ge=-1,
        le=BATCH_PRODUCTS_MAX,
        description="A `place`: products up to it are left out. To follow a batch, send the last one that has no "
        "unfinished product before it.",
        examples=[-1],
    ),
]
SnapshotDigest = Annotated[str, Field(pattern=SNAPSHOT_DIGEST_PATTERN, description="As `POST /v1/catalogue` gave it.")]


class BatchRequest(BaseModel):
    """Many products, all to be written in the same manner."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)

    products: list[ProductRow] | None = Field(
        default=None, min_length=1, max_length=BATCH_PRODUCTS_MAX, description="Either these or a `snapshot`."
    )
    snapshot: SnapshotDigest | None = None
    channels: list[ChannelName] = Field(
        min_length=1, max_length=20, description="Each at most once; every product is written for all of them."
    )
    voice: Voice = Field(default=VOICES[0], description="As in `POST /v1/creatives`.")
    candidates: int = Field(
        default=4, ge=1, le=CANDIDATES_MAX, description="How many to write for each product and channel."
    )
    return_candidates: int = Field(
        default=1, ge=1, le=CANDIDATES_MAX, description="How many of them to keep, best first; at most `candidates`."
    )
    seed: int = Field(default=0, ge=0, le=SEED_MAX, description="Of every product; see `POST /v1/creatives`.")

    @model_validator(mode="after")
    def _agree(self) -> Self:
        if (self.products is None) == (self.snapshot is None):
            raise ValueError("Send either products or the digest of a snapshot.")
        if len(set(self.channels)) != len(self.channels):
            raise ValueError("Name each channel only once.")
        if self.return_candidates > self.candidates:
            raise ValueError("Ask for at least as many candidates as are to be kept.")
        return self


class BatchMadeOut(BaseModel):
    """The batch is kept and will be worked on, whatever becomes of this process."""

    id: str = Field(pattern=BATCH_ID_PATTERN)
    state: BatchState
    products: int = Field(description="Rows that were sent.")
    failed: int = Field(description="Of these, the ones that are no products; the results say why.")


class BatchOut(BatchMadeOut):
    """How far a batch is. Always: written + failed + waiting + cancelled = products."""

    failed: int = Field(description="Rows that are no products, and products that could not be written.")
    written: int
    waiting: int
    cancelled: int
    progress: float = Field(ge=0, le=1, description="Share of the products that nothing more is done for.")
    snapshot: str = Field(description="Digest of the catalogue it was made from; empty for products sent inline.")
    created_at: datetime
    started_at: datetime | None = Field(description="When it was first worked on; null while it waits for that.")
    finished_at: datetime | None
    estimated_seconds_left: float | None = Field(description="By the pace so far; null where there is none to judge.")


class BatchesOut(BaseModel):
    """One page of batches, newest first."""

    batches: list[BatchOut]
    next_cursor: str | None = Field(description="Send it as `cursor` for the next page; null on the last.")


class ItemResultOut(BaseModel):
    """One line of the results."""

    place: int = Field(description="Of the product in the batch, from 0.")
    sku: str
    state: Literal["done", "failed", "cancelled"]
    creatives: list[dict[str, Any]] = Field(description="As `GET /v1/creatives/{id}` gives them, without images.")
    error: str = Field(description="Why it failed.")


class RejectedRowOut(BaseModel):
    """One row of a catalogue that is no product."""

    line: int = Field(description="Where the row begins; in a JSON list the number of the item. Both count from 1.")
    column: str = Field(description="As the catalogue writes it; empty where the row as a whole is wrong.")
    reason: str


class SnapshotOut(BaseModel):
    """A catalogue as it is kept: the products of its good rows."""

    digest: str = Field(pattern=SNAPSHOT_DIGEST_PATTERN, description="Of the products: the same rows, the same digest.")
    products: int
    rejected: int = Field(description="Rows that are no products.")
    created_at: datetime


class CatalogueOut(SnapshotOut):
    """What became of an upload. Always: products + rejected + merged = rows."""

    rows: int = Field(description="Rows that were sent, header and empty lines not counted.")
    merged: int = Field(description="Rows that became part of the product above them: further variants and pictures.")
    rejected_rows: list[RejectedRowOut] = Field(description="The first 100.")
