"""Creatives as the store keeps them: the routes and the batch threads find the form here that pipelines share."""

from __future__ import annotations

from model.kept_rows import kept_rows as kept_rows  # noqa: PLC0414 - the repeated name is how mypy knows an export
