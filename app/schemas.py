"""
What goes in and out over HTTP, as pydantic models: limits, descriptions and examples of the OpenAPI document.

Knows the form of a request and nothing of how it is fulfilled.
"""

from __future__ import annotations

import re
from typing import Annotated, Any, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    GetJsonSchemaHandler,
    ValidatorFunctionWrapHandler,
    WithJsonSchema,
    WrapValidator,
    model_validator,
)
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema

from model.channel import ChannelSpec, channels
from model.product import ATTRIBUTE_CHARS_MAX, ATTRIBUTE_NAME_CHARS_MAX, ATTRIBUTES_MAX, CHARS_MAX, TITLE_CHARS_MAX
from model.prompt import VOICES

CANDIDATES_MAX = 32
SEED_MAX = 2**32 - 1
"""NumPy's generators take 32 bits everywhere, and every JSON reader keeps such a number exactly."""
CREATIVE_ID_PATTERN = "^cr_[0-9a-f]{20}$"
SIZE_PATTERN = "^[1-9][0-9]{1,3}x[1-9][0-9]{1,3}$"
COLOUR_PATTERN = "^#[0-9a-fA-F]{6}$"
CONTROLS = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]")
"""Unicode's category Cc but for line breaks and tabs."""


def _without_controls(text: str) -> str:
    if CONTROLS.search(text):
        raise ValueError("Remove control characters such as NUL; line breaks and tabs may stay.")
    return text


def _known_channel(name: str) -> str:
    if name not in channels():
        raise ValueError(f"Choose from {', '.join(channels())}.")
    return name


def _known_voice(name: str) -> str:
    if name not in VOICES:
        raise ValueError(f"Choose from {', '.join(VOICES)}.")
    return name


class _ChannelEnum:
    """Puts the names of data/channels.toml into the schema when the document is made, not when this is imported."""

    def __get_pydantic_json_schema__(self, core_schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        return {**handler(core_schema), "enum": list(channels())}


Text = Annotated[str, AfterValidator(_without_controls)]
ChannelName = Annotated[str, AfterValidator(_known_channel), _ChannelEnum()]
Voice = Annotated[str, AfterValidator(_known_voice), WithJsonSchema({"type": "string", "enum": list(VOICES)})]
Colour = Annotated[str, Field(pattern=COLOUR_PATTERN, examples=["#0a3d62"])]
Size = Annotated[str, Field(description="Width x height in pixels.", examples=["1080x1080"])]


class _Sent(BaseModel):
    """What a client sends: no unknown members, and no guessing of types ("4" is not 4)."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class ProductIn(_Sent):
    """
    One catalogue row. The creative may say only what stands here.

    All of it is data: HTML is turned into text, and instructions inside are words like any others.
    """

    sku: Text = Field(
        default="",
        max_length=CHARS_MAX["sku"],
        description="Your name for the product; comes back in the creative. Derived from the row where left out.",
    )
    title: Text = Field(
        min_length=1,
        description=f"At most {TITLE_CHARS_MAX:,} characters without HTML; at least one letter or digit.",
    )
    description: Text = Field(
        default="", description=f"Plain text or HTML; at most {CHARS_MAX['description']:,} characters without HTML."
    )
    category: Text = Field(
        default="", max_length=CHARS_MAX["category"], description="Chooses the palette of the pictures, too."
    )
    brand: Text = Field(default="", max_length=CHARS_MAX["brand"])
    price: Text = Field(
        default="", max_length=CHARS_MAX["price"], description="As shown to buyers, with its currency: 24.90 EUR."
    )
    image: Text = Field(
        default="",
        max_length=CHARS_MAX["image"],
        description="The `image` that `POST /v1/photographs` gave, and the ad's pictures are drawn with it; or an "
        "address, which is kept with the product and never fetched.",
    )
    attributes: dict[
        Annotated[str, Field(max_length=ATTRIBUTE_NAME_CHARS_MAX)],
        Annotated[Text, Field(max_length=ATTRIBUTE_CHARS_MAX)],
    ] = Field(
        default_factory=dict,
        max_length=ATTRIBUTES_MAX,
        description="Further facts by name, for instance the options of a variant.",
    )


class SkuOnly(_Sent):
    """A product of the client's catalogue, by its name alone."""

    sku: Text = Field(
        min_length=1,
        max_length=CHARS_MAX["sku"],
        description="As the newest catalogue has it: nothing else is sent, and all else is taken from there.",
    )


def _product_or_sku(sent: Any, _handler: ValidatorFunctionWrapHandler) -> ProductIn | SkuOnly:
    """Told apart by hand, so that an error points to the member and not to a branch of a union."""
    kind = SkuOnly if isinstance(sent, dict) and set(sent) == {"sku"} and sent["sku"] else ProductIn
    return kind.model_validate(sent)


class BrandColours(_Sent):
    """Colours of the pictures. Text keeps a contrast of at least WCAG AA, so a colour may be darkened or lightened."""

    background: Colour
    foreground: Colour
    accent: Colour


class CreativesRequest(_Sent):
    """One product, to be written for one or more channels."""

    product: Annotated[ProductIn | SkuOnly, WrapValidator(_product_or_sku)]
    channels: list[ChannelName] = Field(
        min_length=1, max_length=20, description="Each at most once; the creatives come back in this order."
    )
    voice: Voice = Field(
        default=VOICES[0],
        description="How the brand sounds: plain states, playful smiles, premium takes its time. The facts stay.",
    )
    candidates: int = Field(
        default=4,
        ge=1,
        le=CANDIDATES_MAX,
        description="How many to write for each channel; the best by validity are returned.",
    )
    return_candidates: int = Field(
        default=1,
        ge=1,
        le=CANDIDATES_MAX,
        description="How many of the candidates to return for each channel, best first; at most `candidates`.",
    )
    seed: int = Field(
        default=0,
        ge=0,
        le=SEED_MAX,
        description="The same request with the same seed gives the same creatives; another seed gives others. "
        "Every creative names its seed in `passport.seed`.",
    )
    brand_colours: BrandColours | None = Field(
        default=None, description="Colours of the pictures; without them the category chooses a palette."
    )

    @model_validator(mode="after")
    def _agree(self) -> Self:
        if len(set(self.channels)) != len(self.channels):
            raise ValueError("Name each channel only once.")
        if self.return_candidates > self.candidates:
            raise ValueError("Ask for at least as many candidates as are to be returned.")
        return self


class ImageLinks(BaseModel):
    """Where one size of the picture is, relative to this service."""

    size: Size
    svg: str
    png: str


class FindingOut(BaseModel):
    """One thing wrong with a creative."""

    kind: str
    field: str
    detail: str


class PassportOut(BaseModel):
    """Everything needed to write the same creative again. Empty where a fact does not exist yet."""

    bundle_digest: str
    prompt_digest: str
    product_digest: str
    seed: int
    voice: Voice
    candidates: int
    decoding: dict[str, float | int]
    validity_version: str
    git_commit: str
    image_digest: str
    registry_version: str
    dataset_digest: str


class CreativeOut(BaseModel):
    """One ad for one channel. A field that the channel does not have is empty."""

    id: str = Field(pattern=CREATIVE_ID_PATTERN, description="Derived from words and passport: same ad, same id.")
    sku: str
    channel: ChannelName
    headline: str = Field(description="The first of `headlines`.")
    body: str = Field(description="`descriptions` joined by spaces.")
    headlines: list[str]
    descriptions: list[str]
    call_to_action: str
    hashtags: list[str]
    validity: float = Field(ge=0, le=1, description="1 is a creative without findings.")
    findings: list[FindingOut]
    repairs: list[str] = Field(description="What was mended in the model's own words; empty is best.")
    passport: PassportOut
    images: list[ImageLinks] = Field(description="One for each size of the channel, its default first.")


class CreativesOut(BaseModel):
    """Channels in the order of the request; within a channel best first."""

    creatives: list[CreativeOut]


class FieldLimits(BaseModel):
    """What a channel accepts in one field; lengths in characters."""

    name: str
    count_min: int
    count_max: int
    chars_max: int
    source: str = Field(description="The page that the limits come from.")


class ChannelOut(BaseModel):
    """What a channel accepts."""

    name: str
    title: str
    fields: list[FieldLimits]
    total_chars_max: int = Field(description="Over all fields joined by spaces; 0 where there is no such limit.")
    image_sizes: list[Size]
    source: str


class ChannelsOut(BaseModel):
    """Every channel this service writes for."""

    channels: list[ChannelOut]


class StatusOut(BaseModel):
    """A probe that passed; one that failed is a problem document with status 503."""

    status: str = Field(examples=["ok"])


class VersionOut(BaseModel):
    """What is running. Empty where the process was not told."""

    service: str
    version: str
    git_commit: str
    image_digest: str
    bundle_digest: str
    registry_version: str
    validity_version: str


class ProblemError(BaseModel):
    """One wrong value: `pointer` for a place in the body, `parameter` for the path and the query."""

    pointer: str | None = Field(
        default=None, description="JSON pointer as a URI fragment.", examples=["#/product/title"]
    )
    parameter: str | None = None
    detail: str


class ProblemOut(BaseModel):
    """An error, as RFC 9457 describes it."""

    type: str = Field(description="Stable: switch on this.", pattern="^urn:adloom:problem:[a-z-]+$")
    title: str
    status: int
    detail: str = Field(description="What happened and what to do.")
    instance: str
    request_id: str = Field(description="Also in the header X-Request-ID and in the log.")
    errors: list[ProblemError] = Field(default=[], description="Present where single values are wrong.")


def limits_of(spec: ChannelSpec) -> ChannelOut:
    """A ChannelSpec in its public form; what only the writer needs is left out."""
    fields = [FieldLimits.model_validate(field, from_attributes=True) for field in spec.fields]
    sizes = [f"{width}x{height}" for width, height in spec.images]
    return ChannelOut(
        name=spec.name,
        title=spec.title,
        fields=fields,
        total_chars_max=spec.total_chars_max,
        image_sizes=sizes,
        source=spec.source,
    )
