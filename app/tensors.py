"""
Tensors of the Open Inference Protocol (V2, REST): what a client sends in them, and creatives in the same form.

Knows no routes; a tensor that does not fit raises a 422 Problem with a pointer to the place.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from app.problem import Problem, ProblemKind, invalid
from app.schemas import CANDIDATES_MAX, SEED_MAX, CreativesRequest
from app.studio import Commission
from model.channel import channel
from model.creative import Creative
from model.product import ProductError, product_from_mapping

BATCH_MAX = 16
"""Products of one request: at four at once they are written within the deadline of one."""
REQUIRED = ("title", "description", "channel")
OPTIONAL = ("sku", "category", "brand", "price", "voice")
OF_PRODUCT = ("sku", "title", "description", "category", "brand", "price")
BINARY_ADVICE = "The binary tensor extension is not offered: send and ask for tensors as JSON."

OUTPUTS: Mapping[str, tuple[str, Callable[[Creative], str | float]]] = MappingProxyType(
    {
        "headline": ("BYTES", lambda creative: str(creative.as_dict()["headline"])),
        "body": ("BYTES", lambda creative: str(creative.as_dict()["body"])),
        "call_to_action": ("BYTES", lambda creative: creative.copy.call_to_action),
        "hashtags": ("BYTES", lambda creative: json.dumps(creative.copy.hashtags, ensure_ascii=False)),
        "validity": ("FP64", lambda creative: creative.validity),
        "creative": ("BYTES", lambda creative: json.dumps(creative.as_dict(), ensure_ascii=False)),
    }
)
"""Datatype of each output, and how a creative gives it."""


def _flat(data: Any) -> Any:
    """The protocol takes the elements of a tensor nested by its shape, or flat: [["a"], ["b"]] is ["a", "b"]."""
    if isinstance(data, list) and data and all(isinstance(row, list) and len(row) == 1 for row in data):
        return [row[0] for row in data]
    return data


class _Sent(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class TensorParameters(_Sent):
    """What clients of the protocol say of a tensor. Of these only one value each is taken."""

    content_type: str | None = Field(default=None, description="As MLServer's codecs send it; not used.")
    binary_data: bool | None = Field(default=None, description="For an output: must not be true.")
    binary_data_size: int | None = Field(default=None, description="For an input: must not be sent.")


class InferParameters(_Sent):
    """How the creatives of one request are written."""

    seed: int = Field(default=0, ge=0, le=SEED_MAX, description="As for `POST /v1/creatives`.")
    candidates: int = Field(
        default=4, ge=1, le=CANDIDATES_MAX, description="How many to write for each product; the best is returned."
    )
    content_type: str | None = Field(default=None, description="As MLServer's codecs send it; not used.")
    binary_data_output: bool | None = Field(default=None, description="Must not be true.")


class InputTensor(_Sent):
    """One member of every product of the request."""

    name: Literal["title", "description", "channel", "sku", "category", "brand", "price", "voice"] = Field(
        description="`title`, `description` and `channel` must be there; each at most once."
    )
    shape: list[Annotated[int, Field(ge=1, le=BATCH_MAX)]] = Field(
        min_length=1, max_length=2, description=f"[n] or [n, 1], n products, at most {BATCH_MAX}; the same for all."
    )
    datatype: Literal["BYTES"]
    parameters: TensorParameters = TensorParameters()
    data: Annotated[list[str], BeforeValidator(_flat)] = Field(
        description="n texts, as JSON strings; what each may hold stands at `POST /v1/creatives`."
    )


class OutputWanted(_Sent):
    """One tensor to be returned."""

    name: Literal["headline", "body", "call_to_action", "hashtags", "validity", "creative"]
    parameters: TensorParameters = TensorParameters()


class InferRequest(_Sent):
    """Some products, one channel each, member by member."""

    id: str | None = Field(default=None, max_length=256, description="Comes back in the answer.")
    parameters: InferParameters = InferParameters()
    inputs: list[InputTensor] = Field(min_length=len(REQUIRED), max_length=len(REQUIRED) + len(OPTIONAL))
    outputs: list[OutputWanted] = Field(
        default=[], max_length=len(OUTPUTS), description="In this order; all where left out."
    )


class OutputTensor(BaseModel):
    """One member of every creative."""

    name: str
    shape: list[int]
    datatype: str
    data: list[str | float] = Field(description="In the order of the products. `hashtags` and `creative` are JSON.")


class InferResponse(BaseModel):
    """The best creative for each product."""

    model_name: str
    model_version: str
    id: str = Field(description="As sent, else the id of the request.")
    outputs: list[OutputTensor]


class TensorMetadata(BaseModel):
    """What a tensor holds; -1 stands for the number of products."""

    name: str
    datatype: str
    shape: list[int]
    parameters: dict[str, bool] = Field(default={}, description="`optional`: whether it may be left out.")


def input_metadata() -> list[TensorMetadata]:
    """Every input, those that must be there first."""
    return [
        TensorMetadata(name=name, datatype="BYTES", shape=[-1], parameters={"optional": name in OPTIONAL})
        for name in (*REQUIRED, *OPTIONAL)
    ]


def output_metadata() -> list[TensorMetadata]:
    """Every output."""
    return [TensorMetadata(name=name, datatype=datatype, shape=[-1]) for name, (datatype, _) in OUTPUTS.items()]


def commissions(order: InferRequest, candidates_max: int) -> list[Commission]:
    """One for each product, in order. Raises a 422 Problem that points at what does not fit."""
    _refuse_binary(order)
    if order.parameters.candidates > candidates_max:
        raise invalid(f"Ask for at most {candidates_max} candidates.", pointer="/parameters/candidates")
    _require_agreement(order)
    columns: dict[str, list[str]] = {tensor.name: tensor.data for tensor in order.inputs}
    places: dict[str, int] = {tensor.name: place for place, tensor in enumerate(order.inputs)}
    return [
        _commission({name: data[row] for name, data in columns.items()}, row, places, order.parameters)
        for row in range(len(columns["title"]))
    ]


def output_tensors(order: InferRequest, written: Sequence[Creative]) -> list[OutputTensor]:
    """The outputs that were asked for."""
    names: list[str] = [wanted.name for wanted in order.outputs] or list(OUTPUTS)
    return [
        OutputTensor(
            name=name,
            shape=[len(written)],
            datatype=OUTPUTS[name][0],
            data=[OUTPUTS[name][1](each) for each in written],
        )
        for name in names
    ]


def refuse_binary_body() -> Problem:
    """For a request whose body is binary tensors."""
    return Problem(ProblemKind.UNSUPPORTED_MEDIA_TYPE, BINARY_ADVICE)


def _refuse_binary(order: InferRequest) -> None:
    if order.parameters.binary_data_output:
        raise invalid(BINARY_ADVICE, pointer="/parameters/binary_data_output")
    said = [(f"/inputs/{place}", tensor.parameters) for place, tensor in enumerate(order.inputs)]
    said += [(f"/outputs/{place}", wanted.parameters) for place, wanted in enumerate(order.outputs)]
    for place, parameters in said:
        if parameters.binary_data:
            raise invalid(BINARY_ADVICE, pointer=f"{place}/parameters/binary_data")
        if parameters.binary_data_size is not None:
            raise invalid(BINARY_ADVICE, pointer=f"{place}/parameters/binary_data_size")


def _require_agreement(order: InferRequest) -> None:
    """Each tensor once, the needed ones there, and all of one length."""
    sent = [tensor.name for tensor in order.inputs]
    for part, names in (("inputs", sent), ("outputs", [wanted.name for wanted in order.outputs])):
        for place, name in enumerate(names):
            if name in names[:place]:
                raise invalid(f"Name the tensor {name} only once.", pointer=f"/{part}/{place}/name")
    if lacking := [name for name in REQUIRED if name not in sent]:
        raise invalid(f"Send the tensors {', '.join(lacking)}, too.", pointer="/inputs")
    count = order.inputs[0].shape[0]
    for place, tensor in enumerate(order.inputs):
        if tensor.shape not in ([count], [count, 1]):
            raise invalid(f"Give every tensor the shape [{count}], as the first has.", pointer=f"/inputs/{place}/shape")
        if len(tensor.data) != count:
            raise invalid(f"The shape says {count} elements: send as many.", pointer=f"/inputs/{place}/data")


def _commission(
    element: Mapping[str, str], row: int, places: Mapping[str, int], parameters: InferParameters
) -> Commission:
    """By the rules of `POST /v1/creatives`, so that the same product gives the same creative both ways."""
    try:
        order = CreativesRequest.model_validate(
            {
                "product": {name: element[name] for name in OF_PRODUCT if name in element},
                "channels": [element["channel"]],
                "candidates": parameters.candidates,
                "seed": parameters.seed,
                **({"voice": element["voice"]} if "voice" in element else {}),
            }
        )
        product = product_from_mapping(order.product.model_dump())
    except ValidationError as error:
        first = error.errors()[0]
        steps = [str(step) for step in first["loc"]]
        column = steps[1] if steps[0] == "product" else steps[0].replace("channels", "channel")
        raise _of_element(column, row, places, str(first["msg"]).removeprefix("Value error, ")) from error
    except ProductError as error:
        raise _of_element(error.column, row, places, f"{error.column} {error.reason}") from error
    specs = tuple(channel(name) for name in order.channels)
    return Commission(product, specs, order.voice, order.candidates, order.seed)


def _of_element(column: str, row: int, places: Mapping[str, int], detail: str) -> Problem:
    return invalid(detail, pointer=f"/inputs/{places.get(column, 0)}/data/{row}")
