"""
Write ads for a whole catalogue snapshot in shards, on as many workers as there are shards.

`plan` prints the shards as a JSON list, `run` writes one of them, `collect` checks that every sku was written exactly
once. Each may be killed anywhere and run again.

Example: adloom generate-batch plan --snapshot DIGEST --client shop --shards 8
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence

from model.bundle import open_bundle
from model.channel import channels
from model.prompt import VOICES
from model.store import current_snapshots, snapshots
from model.store.snapshots import Snapshot
from pipelines.settings import PipelineSettings
from pipelines.shard_results import SHOWN_MAX, Collected, collect, put_result
from pipelines.shard_writer import ShardWriter, WriterSettings, WritesAds, orders_of, require_same_program
from pipelines.shards import Orders, Plan, PlanError, make_plan, put_plan, read_plan
from pipelines.step import EXIT_REFUSED, give, parser, say

CANDIDATES_MAX = 32
SEED_MAX = 2**32 - 1
WRITERS_MAX = 64


def main(argv: Sequence[str] | None = None) -> int:
    """Run the step; expected errors leave as ValueError or RuntimeError for app.cli to print."""
    options = parser("generate-batch", __doc__)
    verbs = options.add_subparsers(dest="verb", required=True)
    plan = verbs.add_parser("plan", help="divide a snapshot; the last line is the list of its shards")
    plan.add_argument("--snapshot", default="", metavar="DIGEST", help="default: the newest one that there is")
    plan.add_argument("--client", default="", help="whose snapshot; default: of the newest one")
    plan.add_argument("--shards", type=int, default=8, help="how many workers may share it (default: %(default)s)")
    plan.add_argument("--channels", nargs="+", default=list(channels()), metavar="CHANNEL", help="default: all")
    plan.add_argument("--voice", choices=VOICES, default=VOICES[0])
    plan.add_argument("--candidates", type=_bounded(1, CANDIDATES_MAX), default=4, help="written for each ad kept")
    plan.add_argument("--seed", type=_bounded(0, SEED_MAX), default=0)
    run = verbs.add_parser("run", help="write one shard, or what is missing of it")
    run.add_argument("--shard", type=int, required=True, help="from 0")
    run.add_argument("--writers", type=_bounded(1, WRITERS_MAX), default=2, help="products at once (default: 2)")
    collected = verbs.add_parser("collect", help="check that every sku was written once, and sum up")
    for each in (run, collected):
        each.add_argument("--plan", required=True, metavar="KEY", help="as `plan` printed it")
    arguments = options.parse_args(argv)
    verb = {"plan": _plan, "run": _run, "collect": _collect}[arguments.verb]
    return verb(PipelineSettings(), arguments)


def _bounded(low: int, high: int) -> type[int]:
    def number(text: str) -> int:
        value = int(text)
        if not low <= value <= high:
            raise argparse.ArgumentTypeError(f"must be from {low} to {high}")
        return value

    return number  # type: ignore[return-value]  # argparse wants any callable


def _plan(settings: PipelineSettings, arguments: argparse.Namespace) -> int:
    snapshot = _snapshot(settings, arguments.client, arguments.snapshot)
    wanted = Orders(
        _channels(arguments.channels), arguments.voice, arguments.candidates, arguments.seed, "", "", "", ""
    )
    writer = WriterSettings()
    objects = settings.open_objects()
    plan = make_plan(objects, snapshot, orders_of(wanted, open_bundle(writer.bundle), writer), arguments.shards)
    made = put_plan(objects, plan)
    say(f"{sum(plan.shards)} products in {len(plan.shards)} shards, {'planned' if made else 'planned before'}")
    shards = [{"plan": plan.key, "shard": shard, "products": count} for shard, count in enumerate(plan.shards)]
    sys.stdout.write(json.dumps(shards) + "\n")
    sys.stdout.flush()
    return 0


def _snapshot(settings: PipelineSettings, client: str, digest: str) -> Snapshot:
    """The one that is named, or the newest. Raises PlanError."""
    if digest and not client:
        raise PlanError("say whose snapshot it is: --client NAME")
    with settings.open_database().connect() as connection:
        if digest:
            found = snapshots.find(connection, client, digest)
        else:
            newest = current_snapshots.current(connection, client or None)
            found = newest[0].snapshot if newest else None
    if found is None:
        what = f"client {client[:100]} has" if client else "there is"
        raise PlanError(f"{what} no snapshot{f' {digest[:64]}' if digest else ''}: ingest it first")
    return found


def _channels(names: Sequence[str]) -> tuple[str, ...]:
    """Each once, also of "instagram,x". Raises PlanError."""
    chosen = tuple(dict.fromkeys(name for each in names for name in each.replace(",", " ").split()))
    if unknown := [name for name in chosen if name not in channels()]:
        raise PlanError(f"there is no channel {unknown[0][:100]}: choose from {', '.join(channels())}")
    if not chosen:
        raise PlanError(f"name a channel: {', '.join(channels())}")
    return chosen


def _run(settings: PipelineSettings, arguments: argparse.Namespace) -> int:
    objects = settings.open_objects()
    plan = read_plan(objects, arguments.plan)
    shard = ShardWriter(
        plan,
        arguments.shard,
        database=settings.open_database(),
        objects=objects,
        open_writer=lambda: _opened(plan),
        writers=arguments.writers,
    )
    products = plan.shards[arguments.shard]
    done = shard.run(lambda count: say(f"shard {arguments.shard}: {count} of {products}"))
    give(
        {
            "outcome": done.outcome,
            "plan": plan.key,
            "shard": arguments.shard,
            "key": plan.shard_key(arguments.shard),
            "products": products,
            "resumed": done.resumed,
        }
    )
    return 0


def _opened(plan: Plan) -> WritesAds:
    # The engine takes a second to import, which a shard that is done need not wait for.
    from model.writer import Provenance, Writer  # noqa: PLC0415

    settings = WriterSettings()
    bundle = open_bundle(settings.bundle)
    require_same_program(plan, bundle, settings)
    provenance = Provenance(settings.git_commit, settings.image_digest, settings.registry_version)
    return Writer(bundle, threads=settings.threads, provenance=provenance)


def _collect(settings: PipelineSettings, arguments: argparse.Namespace) -> int:
    objects = settings.open_objects()
    plan = read_plan(objects, arguments.plan)
    collected = collect(objects, plan)
    if reason := _refusal(plan, collected):
        say(reason)
        return EXIT_REFUSED
    made = put_result(objects, plan, collected.document)
    totals = collected.totals
    give(
        {
            "outcome": "collected" if made else "unchanged",
            "plan": plan.key,
            "result": plan.result_key,
            "products": sum(plan.shards),
            "written": totals.written,
            "failed": totals.failed,
            "creatives": collected.document["creatives"],
            "validity_mean": collected.document["validity_mean"],
        }
    )
    return 0


def _refusal(plan: Plan, collected: Collected) -> str:
    """Why the plan is not done; empty where it is."""
    if collected.missing_shards:
        shown = ", ".join(map(str, collected.missing_shards[:SHOWN_MAX]))
        return f"not done: shards {shown} are missing ({collected.missing} products); run them and collect again"
    if collected.missing or collected.doubled:
        shown = ", ".join(collected.missing_shown)
        return f"not exactly once: {collected.missing} skus are missing ({shown}), {collected.doubled} are too many"
    if collected.totals.failed and not collected.totals.written:
        first = collected.totals.errors[0]
        return f"none of {sum(plan.shards)} products could be written; the first: {first['sku']} {first['error']}"
    return ""
