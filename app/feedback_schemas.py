"""
Feedback over HTTP, as pydantic models: what a client may say of a creative, and what it is told became of it.

Knows the form alone; whether an edited text may stand is decided by model/feedback_rules.py.
"""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from app.schemas import CREATIVE_ID_PATTERN, Text
from model.creative import Copy

FEEDBACK_ID_PATTERN = "^fb_[0-9a-f]{32}$"
REASON_CHARS_MIN, REASON_CHARS_MAX = 3, 500
AD_TEXT_CHARS_MAX = 2_200
"""The longest text of any channel is a caption of 2,200 characters; each channel has its own, shorter limits."""
AD_TEXTS_MAX = 30
"""More than any channel takes of one field."""

AdText = Annotated[Text, Field(min_length=1, max_length=AD_TEXT_CHARS_MAX)]
Reason = Annotated[Text, Field(min_length=REASON_CHARS_MIN, max_length=REASON_CHARS_MAX)]
Verdict = Literal["accept", "edit", "reject"]


class _Sent(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class EditedIn(_Sent):
    """The whole ad as it should have been, its unchanged texts included."""

    headlines: list[AdText] = Field(default=[], max_length=AD_TEXTS_MAX)
    descriptions: list[AdText] = Field(default=[], max_length=AD_TEXTS_MAX)
    call_to_action: Annotated[Text, Field(max_length=AD_TEXT_CHARS_MAX)] = ""
    hashtags: list[AdText] = Field(default=[], max_length=AD_TEXTS_MAX, description="Each with its leading #.")

    def copy_of_ad(self) -> Copy:
        """As the validity rules read it."""
        return Copy(tuple(self.headlines), tuple(self.descriptions), self.call_to_action, tuple(self.hashtags))


class FeedbackRequest(_Sent):
    """One verdict on one creative."""

    verdict: Verdict = Field(description="accept: it may run as it is. edit: it may run as `edited`. reject: never.")
    edited: EditedIn | None = Field(
        default=None, description="Needed for edit, and for nothing else. It has to keep the channel's limits and to "
        "say only what the product says."
    )  # fmt: skip
    reason: Reason | None = Field(default=None, description="Needed for reject; welcome with every other verdict.")

    @model_validator(mode="after")
    def _agree(self) -> Self:
        if self.verdict == "edit" and self.edited is None:
            raise ValueError("Send the ad as it should have been in `edited`.")
        if self.verdict != "edit" and self.edited is not None:
            raise ValueError("Leave `edited` out, or make the verdict edit.")
        if self.verdict == "reject" and (self.reason is None or len(self.reason.strip()) < REASON_CHARS_MIN):
            raise ValueError(f"Say why in `reason`, in {REASON_CHARS_MIN} to {REASON_CHARS_MAX} characters.")
        return self


class FeedbackMadeOut(BaseModel):
    """The verdict is kept."""

    id: str = Field(pattern=FEEDBACK_ID_PATTERN)
    state: Literal["waiting", "used", "excluded"] = Field(description="`GET /v1/feedback/{id}` tells how it goes on.")


class FeedbackOut(FeedbackMadeOut):
    """A verdict, and what became of it. Empty where that has not happened."""

    creative_id: str = Field(pattern=CREATIVE_ID_PATTERN)
    verdict: Verdict
    why: str = Field(description="Why it was excluded.")
    hold_out: bool = Field(description="Never trained on: it measures whether training on the others has helped.")
    dataset_digest: str = Field(description="Of the training data that it became part of.")
    run_id: str = Field(description="Of the training run that used them.")
    served_version: str = Field(description="The first version of the model in service that learnt from it.")
    created_at: datetime
    updated_at: datetime
