"""
`GET /metrics`: what the service counts, for Prometheus.

Open to whoever reaches the port, as probes are; the network policy decides who that is. No label names a client.
"""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Header, Response

from app.parts import PartsOfApp

EXAMPLE = """\
# HELP adloom_engine_queue_depth Requests that wait to be written, at the engine's door or behind it.
# TYPE adloom_engine_queue_depth gauge
adloom_engine_queue_depth 0.0
"""
_TEXT = {"schema": {"type": "string"}, "example": EXAMPLE}

router = APIRouter(tags=["operation"])


@router.get(
    "/metrics",
    operation_id="getMetrics",
    summary="What the service counts",
    response_class=Response,
    responses={
        200: {
            "description": "Every metric, in the format that the Accept header asks for.",
            "content": {"text/plain": _TEXT, "application/openmetrics-text": _TEXT},
        }
    },
)
def get_metrics(
    parts: PartsOfApp,
    accept: Annotated[str, Header(description="As Prometheus sends it.", examples=["text/plain"])] = "",
) -> Response:
    """Prometheus' text format, or OpenMetrics where that is asked for. Histograms are in seconds, ratios and rows."""
    text, media_type = parts.metrics.exposition(accept)
    return Response(text, headers={"Content-Type": media_type, "Cache-Control": "no-store"})
