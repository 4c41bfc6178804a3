"""
A route whose ordinary requests skip FastAPI's solving of dependencies, which takes longer than all else it does.

Knows which dependencies this service has, and nothing of what a route does with them.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any, get_type_hints

from fastapi import Request, Response
from fastapi._compat import ModelField
from fastapi.dependencies.models import Dependant

from app.idempotency import KEY_HEADER, describe_key
from app.identity import identify
from app.parts import parts_of_app
from app.strict_json import StrictJsonRoute

Endpoint = Callable[..., Coroutine[Any, Any, Response]]


class DirectRoute(StrictJsonRoute):
    """
    For endpoints that take a body and answer with a Response of their own; others are as on StrictJsonRoute.

    Ordinary is a request whose caller the gate has admitted (limits.Gate), without query and Idempotency-Key, and with
    a body that fits. Every other goes FastAPI's way, so that each refusal is worded in one place.
    """

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """FastAPI's handler behind ours."""
        handle = super().get_route_handler()
        plan = _plan(self.endpoint, self.dependant, self.body_field)
        if plan is None:
            return handle

        async def handle_directly(request: Request) -> Response:
            strict = self.strict(request)
            arguments = await plan.arguments(strict)
            return await (handle(strict) if arguments is None else plan.endpoint(**arguments))

        return handle_directly


@dataclass(frozen=True, slots=True)
class _Plan:
    """Where each argument of an endpoint comes from, by the argument's name; empty where it has none."""

    endpoint: Endpoint
    body: ModelField
    request: str
    caller: str
    parts: str
    defaults: tuple[tuple[str, Any], ...]
    """Of what a query may say."""

    async def arguments(self, request: Request) -> dict[str, Any] | None:
        """None for a request that is not ordinary. Raises the Problem of a body that is no JSON."""
        scope = request.scope
        caller = scope["state"].get("caller")
        if caller is None or scope["query_string"] or KEY_HEADER in request.headers:
            return None
        if not await request.body():
            return None
        order, errors = self.body.validate(await request.json(), {}, loc=("body",))
        if errors or order is None:
            return None
        found = {
            self.body.name: order,
            self.request: request,
            self.caller: caller,
            self.parts: scope["app"].state.parts,
            **dict(self.defaults),
        }
        found.pop("", None)
        return found


def _plan(endpoint: Callable[..., Any], dependant: Dependant, body: ModelField | None) -> _Plan | None:
    """None for an endpoint that wants more than a plan can give."""
    if body is None or get_type_hints(endpoint).get("return") is not Response:
        return None
    names = {each.call: each.name or "" for each in dependant.dependencies}
    is_known = names.keys() <= {identify, parts_of_app, describe_key} and identify in names
    wants_more = dependant.path_params or dependant.header_params or dependant.cookie_params
    if wants_more or not is_known or any(field.field_info.is_required() for field in dependant.query_params):
        return None
    return _Plan(
        endpoint,
        body,
        dependant.request_param_name or "",
        names[identify],
        names.get(parts_of_app, ""),
        tuple((field.name, field.get_default()) for field in dependant.query_params),
    )
