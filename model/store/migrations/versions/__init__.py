"""One module a revision, oldest first; Alembic finds them here by path and puts them in the same order."""

from __future__ import annotations

from model.store.migrations.versions import (
    r0001_first_tables,
    r0002_pipelines,
    r0003_pipeline_runs,
    r0004_model_versions,
    r0005_pair_sets,
    r0006_rollbacks,
)

REVISIONS = (
    r0001_first_tables,
    r0002_pipelines,
    r0003_pipeline_runs,
    r0004_model_versions,
    r0005_pair_sets,
    r0006_rollbacks,
)
