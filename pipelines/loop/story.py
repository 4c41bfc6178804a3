"""
The stages of the loop, in order: ingest, train, release, serve, watch, learn, refuse, roll back.

Each asserts what it shows: a loop that comes to its end has proven every link on the way.
"""

from __future__ import annotations

import json
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pipelines.deployment import WANTED_FILE, deployed, model_file
from pipelines.loop.cluster import Cluster
from pipelines.loop.factory import Factory
from pipelines.loop.markets import home_goods, spare_parts, write_curated, write_slogans, write_sources
from pipelines.loop.merchant import Merchant, Traffic
from pipelines.loop.telling import Stage, Telling
from pipelines.loop.workshop import LoopError, Workshop
from pipelines.step import EXIT_REFUSED

STAGES = 15
ENVIRONMENT = "dev"
WHO = ("--who", "loop")
BEGINNING = {
    model_file(ENVIRONMENT): "# What this environment runs; `adloom deploy` writes it.\n",
    WANTED_FILE: "# The model that the next image shall hold; `adloom release` writes it.\n",
}
"""The GitOps repository before the first release."""
FLUSH_SECONDS = 2.0
"""The service writes its log half a second after a creative; four times that for a busy machine."""


@dataclass(frozen=True, slots=True)
class Sizes:
    """How much of everything."""

    recipe: Path
    pairs: int
    products: int
    reference: int
    """Creatives of ordinary traffic that drift is measured against."""
    window: int
    """Creatives of each window after that."""
    rows_min: int
    verdicts: int
    """Creatives that the merchant judges in each stretch."""


@dataclass(slots=True)
class Story:
    """Everything that one stage leaves for the next."""

    workshop: Workshop
    cluster: Cluster
    telling: Telling
    sizes: Sizes
    base: str
    merchant: Merchant | None = None
    first: str = ""
    better: str = ""
    feedback: dict[str, list[str]] = field(default_factory=dict)
    seed: int = 1

    def tell(self) -> None:
        """From an empty folder to the last rollback. Raises LoopError where a link does not hold."""
        self.prepare()
        self.ingest()
        self.make_first()
        self.release_first()
        self.serve_ordinary()
        self.give_feedback()
        self.watch_ordinary()
        self.shift()
        self.retrain()
        self.release_better()
        self.follow_feedback()
        self.see_whether_it_helped()
        self.refuse_bad()
        self.release_bad()
        self.roll_back()

    def prepare(self) -> None:
        """An empty GitOps repository, a table of sources, and the base."""
        with self.telling.stage("Prepare: a GitOps repository and a base model") as stage:
            shop, clone = self.workshop, self.workshop.folder / "gitops-clone"
            shop.git("init", "--quiet", "--bare", "--initial-branch", "main", str(shop.gitops))
            shop.git("clone", "--quiet", str(shop.gitops), str(clone))
            for path, words in BEGINNING.items():
                (clone / path).parent.mkdir(parents=True)
                (clone / path).write_text(words, encoding="utf-8")
            shop.git("add", ".", folder=clone)
            shop.git("commit", "--quiet", "-m", "gitops: begin", folder=clone)
            shop.git("push", "--quiet", "origin", "HEAD", folder=clone)
            write_sources(shop.folder / "sources.yaml")
            count = write_curated(shop.folder / "curated.jsonl", self.sizes.pairs)
            self.telling.fact(stage, "curated pairs", count)
            if self.base:
                shop.step("tiny-base", self.base)
            self.telling.fact(stage, "gitops", str(shop.gitops))

    def ingest(self) -> None:
        """The DAG, in real Airflow."""
        with self.telling.stage("Ingest: DAG ingest_catalogue") as stage:
            ran = self.workshop.dag("ingest_catalogue")
            self.telling.fact(stage, "tasks", _states(ran))

    def make_first(self) -> None:
        """A first version from poor pairs. A tiny model cannot reach the floors of the gate, and the loop says so."""
        with self.telling.stage("Train the first version, on slogans somebody bought") as stage:
            pairs = self.workshop.folder / "slogans.jsonl"
            write_slogans(pairs, "first", self.sizes.pairs)
            self.first = self._candidate(pairs)
            refused = self.workshop.step("gate-candidate", "--version", self.first, accept=(0, EXIT_REFUSED))
            if refused.status == EXIT_REFUSED:
                self._promote_unjudged(self.first, "the first version, for the loop to begin with")
            self.telling.fact(stage, "version", self.first)
            verdict = "refused; promoted by hand, with the reason in the ledger" if refused.status else "passed"
            self.telling.fact(stage, "gate", verdict)

    def release_first(self) -> None:
        """Commit, sync, sign in."""
        with self.telling.stage("Release: DAG release_writer commits, an image is built, the cluster follows") as stage:
            self._release(stage, self.first)
            told = self.workshop.step("client", "create", "loop-shop", *_scopes())
            words = dict(line.split("=", 1) for line in told.lines if "=" in line)
            self.merchant = Merchant(words["client_id"], words["client_secret"])
            self.merchant.sign_in(self.cluster.address)

    def serve_ordinary(self) -> None:
        """Traffic as usual, which becomes the drift reference."""
        with self.telling.stage("Serve: ordinary traffic becomes the drift reference") as stage:
            traffic = self._traffic(home_goods(self.sizes.products), self.sizes.reference)
            limits = ("--rows-min", str(self.sizes.rows_min), "--draws", "300")
            told = self.workshop.step("drift", "reference", *_stretch(traffic), *limits)
            self.telling.fact(stage, "creatives", len(traffic.creatives))
            self.telling.fact(stage, "validity", round(traffic.validity, 3))
            self.telling.fact(stage, "false alarms a month", told.said["alarms_a_month"])
            self._spoken(stage, traffic)

    def give_feedback(self) -> None:
        """Verdicts that the next dataset learns from."""
        with self.telling.stage("Feedback: the merchant judges two dozen ads") as stage:
            traffic = self._traffic(home_goods(self.sizes.products), self.sizes.verdicts)
            self.feedback = self._merchant.judge(traffic.creatives)
            self.telling.fact(stage, "verdicts", {name: len(ids) for name, ids in self.feedback.items()})

    def watch_ordinary(self) -> None:
        """No drift, no retrain."""
        with self.telling.stage("Watch: an ordinary hour, DAG monitor_drift") as stage:
            traffic = self._traffic(home_goods(self.sizes.products), self.sizes.window)
            report, decision = self._monitor(traffic)
            self.telling.fact(stage, "verdict", report["verdict"])
            self.telling.fact(
                stage, "decision", decision["decision"], f"decision: {decision['decision']}, {decision['why']}"
            )
            _expect(
                report["verdict"] == "steady" and decision["decision"] == "no", "ordinary traffic is no reason", report
            )

    def shift(self) -> None:
        """Another market comes; two windows of three drift, and the ads are worth less."""
        with self.telling.stage("Shift: spare parts instead of home goods, DAG monitor_drift twice") as stage:
            decision: dict[str, Any] = {}
            for number in (1, 2):
                traffic = self._traffic(spare_parts(self.sizes.window), self.sizes.window)
                report, decision = self._monitor(traffic)
                said = f"window {number}: {report['verdict']}, share {report['share']:.2f}, hurts: {report['hurts']}"
                self.telling.fact(stage, f"window {number}", report["verdict"], said)
                self.telling.fact(stage, f"validity {number}", round(traffic.validity, 3))
                _expect(report["verdict"] == "drift", "a shifted market drifts", report)
            self.telling.fact(
                stage, "decision", decision["decision"], f"decision: {decision['decision']}, {decision['why']}"
            )
            _expect(decision["decision"] == "retrain", "drift that hurts leads to a retrain", decision)

    def retrain(self) -> None:
        """The DAG takes the request up, learns from curated pairs and feedback, and the gate compares."""
        with self.telling.stage("Retrain: DAG train_writer, through the gate") as stage:
            ran = self.workshop.dag("train_writer", recipe=str(self.sizes.recipe), base=self.base)
            self.telling.fact(stage, "tasks", _states(ran))
            # First why, and then whether: where the gate refuses, its reasons are what somebody needs.
            self._reasons(stage)
            champion = self._champion()
            self.better = str(champion["version"])
            _expect(self.better != self.first, "the gate lets a better candidate through", stage.facts)
            self.telling.fact(stage, "champion", self.better, f"version {self.better} is champion")

    def release_better(self) -> None:
        """The promotion's release."""
        with self.telling.stage("Release the better version") as stage:
            self._release(stage, self.better)
            self._merchant.sign_in(self.cluster.address)
            self._calls = self._empty_calls(stage)

    def follow_feedback(self) -> None:
        """Feedback that proves it was used."""
        with self.telling.stage("Follow one verdict to the version that learnt from it") as stage:
            fates = [self._merchant.fate(each) for each in (*self.feedback["edit"], *self.feedback["accept"])]
            used = [fate for fate in fates if fate["state"] == "used" and fate["served_version"] == self.better]
            self.telling.fact(stage, "used", len(used), f"{len(used)} of {len(fates)} verdicts were learnt from")
            _expect(bool(used), "a verdict says which version learnt from it", {"fates": fates[:3]})
            fate = used[0]
            said = (
                f"{fate['id']}: dataset {fate['dataset_digest'][:12]}, run {fate['run_id']}, served since {self.better}"
            )
            self.telling.fact(stage, "one", fate["id"], said)

    def see_whether_it_helped(self) -> None:
        """One window later."""
        with self.telling.stage("One window later: did the retrain help?") as stage:
            traffic = self._traffic(spare_parts(self.sizes.window), self.sizes.window)
            self._monitor(traffic)
            self._spoken(stage, traffic)
            told = self.workshop.step("retrains", "--json")
            newest = told.said["retrains"][-1]
            self.telling.fact(
                stage, "helped", newest["helped"], f"{newest['id']} ({newest['trigger']}) helped: {newest['helped']}"
            )
            _expect(newest["helped"] is not None, "a retrain is judged one window later", newest)

    def refuse_bad(self) -> None:
        """The gate, on a model that knows another slogan."""
        with self.telling.stage("A bad candidate: the gate refuses it") as stage:
            pairs = self.workshop.folder / "bad.jsonl"
            write_slogans(pairs, "bad", self.sizes.pairs)
            bad = self._candidate(pairs)
            answer = self.workshop.step("gate-candidate", "--version", bad, accept=(EXIT_REFUSED,))
            self.telling.fact(stage, "version", bad)
            self.telling.fact(stage, "gate", answer.said["outcome"])
            self._reasons(stage)
            self._bad = bad
            _expect(str(self._champion()["version"]) == self.better, "a refused candidate changes nothing", answer.said)

    def release_bad(self) -> None:
        """Somebody goes around the gate; it stands in the ledger, and the ads show it."""
        with self.telling.stage("A bad release: promoted around the gate") as stage:
            self._promote_unjudged(self._bad, "we need it today")
            self._release(stage, self._bad)
            self._merchant.sign_in(self.cluster.address)
            seen = {"better": self._calls, "bad": self._empty_calls(stage)}
            _expect(seen["bad"] > seen["better"] + 0.1, "the ads show what went around the gate", seen)

    def roll_back(self) -> None:
        """Alias, ledger, Git and service agree again."""
        with self.telling.stage("Roll back: one command for Git, alias, ledger, service") as stage:
            started = time.monotonic()
            where = ("--registry", self.workshop.environment["ADLOOM_REGISTRY"], "--service", self.cluster.address)
            why = ("--why", "merchants edit its ads", *WHO)
            with ThreadPoolExecutor(1) as threads:
                done = threads.submit(self.workshop.step, "rollback", "--env", ENVIRONMENT, *where, *why)
                self.cluster.follow(done)
            done.result()
            self._merchant.sign_in(self.cluster.address)
            git = deployed(str(self.workshop.gitops), ENVIRONMENT).values["MODEL_VERSION"]
            served, champion = str(self.cluster.served()["registry_version"]), str(self._champion()["version"])
            seconds = round(time.monotonic() - started, 1)
            self.telling.fact(stage, "seconds to the last good version", seconds)
            self.telling.fact(stage, "agree", {"git": git, "served": served, "champion": champion})
            _expect({git, served, champion} == {self.better}, "Git, registry and service agree", {"git": git})

    _bad: str = ""
    _calls: float = 0.0

    @property
    def _merchant(self) -> Merchant:
        if self.merchant is None:
            raise LoopError("the merchant has not signed in")
        return self.merchant

    def _candidate(self, pairs: Path) -> str:
        """A version made by the steps themselves; returns its number."""
        shop, recipe = self.workshop, ("--recipe", str(self.sizes.recipe))
        dataset = shop.step("build-dataset", "--pairs", pairs, "--without-feedback").said["dataset"]
        base = ("--base", self.base) if self.base else ()
        run = shop.step("train-candidate", "--dataset", dataset, *recipe, *base).said["run"]
        return str(shop.step("evaluate-candidate", "--run", run, *recipe).said["version"])

    def _promote_unjudged(self, version: str, why: str) -> None:
        registry = self.workshop.environment["ADLOOM_REGISTRY"]
        self.workshop.step("promote", version, "--registry", registry, "--without-gate", why, "--why", why, *WHO)

    def _release(self, stage: Stage, version: str) -> None:
        self.workshop.dag("release_writer")
        Factory(self.workshop, ENVIRONMENT).release()
        commit = deployed(str(self.workshop.gitops), ENVIRONMENT).commit
        served = self.cluster.sync()
        _expect(served == version, "the cluster serves what Git says", {"served": served, "wanted": version})
        subject = self.workshop.git("--git-dir", str(self.workshop.gitops), "log", "-1", "--format=%s", commit)
        self.telling.fact(stage, "commit", commit[:10], f"{commit[:10]} {subject}")
        self.telling.fact(stage, "served", served, f"serving version {served} at {self.cluster.address}")

    def _traffic(self, products: list[dict[str, Any]], count: int) -> Traffic:
        """Asks, and waits until the log is in the object store."""
        self.seed += 10_000
        traffic = self._merchant.ask(products, count, self.seed)
        time.sleep(FLUSH_SECONDS)
        return traffic

    def _monitor(self, traffic: Traffic) -> tuple[dict[str, Any], dict[str, Any]]:
        """The DAG over one stretch; its report, and the decision."""
        ran = self.workshop.dag("monitor_drift", since=traffic.since.isoformat(), until=_end(traffic))
        # Where the decision is no, its task is skipped, and says nothing to those after it.
        decision = ran["answers"].get("decide_retrain") or {"decision": "no", "why": "nothing calls for a retrain"}
        return ran["answers"]["monitor_drift"], decision

    def _spoken(self, stage: Stage, traffic: Traffic) -> None:
        """One ad, for whoever watches."""
        one = traffic.creatives[0]
        said = f'"{one["headline"]}" / "{one["call_to_action"]}" ({one["channel"]}, validity {one["validity"]:.2f})'
        self.telling.fact(stage, "an ad", said)

    def _empty_calls(self, stage: Stage) -> float:
        """Share of ads with a call to action of one word, in ordinary traffic."""
        traffic = self._traffic(home_goods(self.sizes.products), self.sizes.window)
        self._spoken(stage, traffic)
        share = round(traffic.empty_calls, 2)
        self.telling.fact(stage, "calls to action of one word", share)
        return share

    def _champion(self) -> dict[str, Any]:
        registry = self.workshop.environment["ADLOOM_REGISTRY"]
        told = self.workshop.step("models", "--registry", registry, "--json")
        return next(one for one in told.said["versions"] if "champion" in one["aliases"])

    def _reasons(self, stage: Stage) -> None:
        """What the gate said last, as the ledger keeps it; a version promoted by hand has no verdict."""
        ledger = Path(self.workshop.environment["ADLOOM_REGISTRY"]) / "ledger.jsonl"
        verdict = json.loads(ledger.read_text(encoding="utf-8").splitlines()[-1])["verdict"]
        self.telling.fact(stage, "reasons", " ".join(verdict["reasons"]) if verdict else "the gate was not asked")


def _scopes() -> list[str]:
    names = ("creatives:write", "creatives:read", "feedback:write")
    return [word for name in names for word in ("--scope", name)]


def _stretch(traffic: Traffic) -> tuple[str, ...]:
    return ("--since", traffic.since.isoformat(), "--until", _end(traffic))


def _end(traffic: Traffic) -> str:
    return traffic.until.isoformat()


def _states(ran: dict[str, Any]) -> str:
    return ", ".join(f"{name} {state}" for name, state in ran["tasks"].items())


def _expect(holds: bool, what: str, seen: Any) -> None:  # noqa: FBT001 - reads as a sentence
    if not holds:
        raise LoopError(f"this link does not hold: {what}; seen: {json.dumps(seen, default=str)[:600]}")
