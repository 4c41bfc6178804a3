"""
Creatives per second of our engine and of its peers: one run, the same weights, prompts and token counts, in turns.

Example: adloom bench --products 2 --tokens 8 --in-flight 1 --rounds 1 --engines adloom,optimum-int8
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
from tokenizers import Tokenizer

from model.bundle import Bundle, open_bundle
from model.catalogue import read_catalogue
from model.channel import channel
from model.prompt import prompt_from_dict
from model.training import bench_report, ceilings, peer_files
from model.training.bench_report import Contender, Round, shared_tokens
from model.training.bench_worker import Worker, WorkerError
from model.training.bundle_command import SHIPPED_ADAPTER
from model.training.peers import ENGINES, OURS, Engine, Setup, missing

SAMPLE = Path(__file__).parents[1] / "data" / "catalogue.csv"
PREFIX_TOKENS_MIN = 8
"""A shorter common beginning is not worth a cache: the tuned prompt's is two tokens."""
STARTS = 2
"""The first warms the disk; the last is reported as the cold start."""
WARM_UP_TOKENS = 2
PAUSE_SECONDS = 0.25
"""Between engines: threads of some OpenMP libraries spin for 200 ms after their work (KMP_BLOCKTIME)."""

Ids = list[int]


@dataclass(frozen=True, slots=True)
class Plan:
    """What every engine is asked, in what order."""

    prompts: Sequence[Ids]
    prefix: Ids
    tokens: int
    rounds: int
    in_flight: Sequence[int]
    prompt_tokens: Sequence[int]
    """Lengths of the prompts of the second part, where one request is in flight."""

    def group(self, rows: int, number: int) -> list[Ids]:
        """The prompts of a round: each round takes the next, and begins anew after the last."""
        start = rows * number
        return [self.prompts[(start + place) % len(self.prompts)] for place in range(rows)]

    def cut(self, length: int, number: int) -> Ids:
        """A prompt of exactly `length` tokens, out of as many products as it takes."""
        ids = list(self.prefix)
        place = number
        while len(ids) < length:
            ids += self.prompts[place % len(self.prompts)][len(self.prefix) :]
            place += 1
        return ids[:length]

    def longest(self) -> int:
        """Most tokens of a prompt and its answer."""
        return max(*map(len, self.prompts), *self.prompt_tokens, 0) + self.tokens


def main(argv: Sequence[str] | None = None) -> int:
    """Run the benchmark, print tables and write every figure to a JSON file and two plots."""
    arguments = _parser().parse_args(argv)
    chosen = _chosen(arguments.engines)
    bundle = open_bundle(arguments.bundle)
    plan = _plan(arguments, bundle)
    console = Console(stderr=True)
    with ExitStack() as stack:
        bench = _Bench(arguments, bundle, plan, console, stack)
        before = bench.measure_machine()
        bench.open(chosen)
        bench.race()
        after = bench.measure_machine()
        profiles = bench.profiles() if OURS in chosen and OURS not in bench.skipped else {}
    if not any(contender.rounds for contender in bench.contenders):
        raise RuntimeError(f"no engine could be measured: {'; '.join(bench.skipped.values())}")
    settings = _settings(arguments, bundle, plan)
    # A ceiling is what the machine can do: the better of both ends of the run.
    machine = {name: max(before[name], after[name]) for name in before if name in after}
    report = bench_report.assemble(settings, bench.contenders, bench.skipped, machine, profiles)
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    arguments.out.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
    plots = bench_report.draw(report, arguments.out) if find_spec("matplotlib") else []
    bench_report.show(report, Console())
    print(f"figures in {arguments.out}", *(f"plot in {path}" for path in plots), sep="\n")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="adloom bench", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--bundle", type=Path, default=Path(".adloom/bundle"), help="default: %(default)s")
    parser.add_argument(
        "--products", type=_count, default=30, help="prompts, from the sample catalogue (default: %(default)s)"
    )
    parser.add_argument("--tokens", type=_count, default=64, help="written for each request (default: %(default)s)")
    parser.add_argument(
        "--in-flight", type=_count, nargs="+", default=[1, 4, 16, 32], help="requests at once (default: 1 4 16 32)"
    )
    parser.add_argument("--rounds", type=_count, default=5, help="of each, engine by engine (default: %(default)s)")
    parser.add_argument(
        "--prompt-tokens",
        type=_count,
        nargs="*",
        default=[32, 128, 512],
        help="lengths of prompts to compare, one request in flight; none to skip (default: 32 128 512)",
    )
    parser.add_argument(
        "--engines", default=",".join(ENGINES), help="comma-separated (default: all of %(default)s)", metavar="NAMES"
    )
    parser.add_argument(
        "--threads", type=_count, default=os.cpu_count() or 1, help="of each engine (default: one a core, %(default)s)"
    )
    parser.add_argument(
        "--hub",
        type=Path,
        help="Hugging Face folder of the bundle's weights, adapter merged in (default: made from the embedded ones)",
    )
    parser.add_argument(
        "--root", type=Path, default=Path(".adloom/bench"), help="keeps what the peers read (default: %(default)s)"
    )
    parser.add_argument(
        "--limit-seconds", type=_count, default=900, help="an engine that is silent for longer is skipped"
    )
    parser.add_argument("--out", type=Path, default=Path("out/bench.json"), help="default: %(default)s")
    return parser


def _count(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError("must be 1 or more")
    return number


def _chosen(names: str) -> dict[str, Engine]:
    """The engines that are named, ours first. Raises ValueError for a name that is none."""
    wanted = [name.strip() for name in names.split(",") if name.strip()]
    unknown = [name for name in wanted if name not in ENGINES]
    if unknown:
        raise ValueError(f"no engine is called {unknown[0]!r}: --engines knows {', '.join(ENGINES)}")
    if not wanted:
        raise ValueError(f"name at least one engine with --engines: {', '.join(ENGINES)}")
    return {name: engine for name, engine in ENGINES.items() if name in wanted}


def _plan(arguments: argparse.Namespace, bundle: Bundle) -> Plan:
    """Raises ValueError where a prompt with its answer exceeds the model's context."""
    prompt = prompt_from_dict(json.loads((bundle.folder / "prompt.json").read_text(encoding="utf-8")))
    tokenizer = Tokenizer.from_file(str(bundle.folder / "tokenizer.json"))
    spec = channel("instagram")
    products = read_catalogue(SAMPLE).products[: arguments.products]
    texts = [(prompt.preamble, prompt.product(product, spec)) for product in products]
    prompts = [
        [token for part in parts for token in tokenizer.encode(part, add_special_tokens=False).ids] for parts in texts
    ]
    shared = min(shared_tokens(prompts), min(map(len, prompts)) - 1)
    prefix = prompts[0][:shared] if shared >= PREFIX_TOKENS_MIN else []
    lengths = [max(length, len(prefix) + 1) for length in arguments.prompt_tokens]
    in_flight = sorted(set(arguments.in_flight))
    plan = Plan(prompts, prefix, arguments.tokens, arguments.rounds, in_flight, sorted(set(lengths)))
    limit = json.loads((bundle.folder / "config.json").read_text(encoding="utf-8"))["max_position_embeddings"]
    if plan.longest() > limit:
        raise ValueError(
            f"{plan.longest()} tokens of prompt and answer exceed the model's context of {limit}: "
            "lower --tokens or --prompt-tokens"
        )
    return plan


def _settings(arguments: argparse.Namespace, bundle: Bundle, plan: Plan) -> dict[str, Any]:
    """What the figures hold for."""
    return {
        "bundle": bundle.digest,
        "scheme": bundle.manifest.scheme,
        "weights": bundle.manifest.base if arguments.hub is None else f"taken at its word: {arguments.hub.name}",
        "machine": f"{platform.machine()}, {arguments.threads} threads",
        "processor": _processor(),
        "products": len(plan.prompts),
        "prompt_tokens_mean": statistics.mean(map(len, plan.prompts)),
        "prefix_tokens": len(plan.prefix),
        "tokens_written": plan.tokens,
        "rounds": plan.rounds,
        "config": json.loads((bundle.folder / "config.json").read_text(encoding="utf-8")),
    }


def _processor() -> str:
    """Its name as Linux knows it, else what Python makes of it."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text(encoding="utf-8").splitlines() if info.is_file() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor()


class _Bench:
    """The workers of one run and what they measured; `skipped` says why an engine is not, or no longer, among them."""

    def __init__(
        self, arguments: argparse.Namespace, bundle: Bundle, plan: Plan, console: Console, stack: ExitStack
    ) -> None:
        self.contenders: list[Contender] = []
        """All that started; a skipped one among them keeps what it measured before."""
        self.skipped: dict[str, str] = {}
        self._arguments, self._bundle, self._plan = arguments, bundle, plan
        self._console, self._stack = console, stack
        self._workers: dict[str, Worker] = {}

    def measure_machine(self) -> dict[str, float]:
        """See ceilings.measure_machine; empty where it fails."""
        found = self.measure("measure memory and arithmetic", "measure_machine", self._arguments.threads)
        return found or {}

    def measure(self, title: str, function: str, *arguments: Any) -> Any:
        """Call a function of ceilings.py in a process of its own; None where it fails, which is said."""
        with self._announced(title), self._worker(function) as worker:
            try:
                return worker.ask("call", function=f"{ceilings.__name__}:{function}", arguments=arguments)["returned"]
            except WorkerError as error:
                self._console.print(f"  {title}: skipped, {error}")
                return None

    def open(self, engines: Mapping[str, Engine]) -> None:
        """Make each engine's files, then start it as often as STARTS says and keep the last."""
        for name, engine in engines.items():
            if reason := missing(engine):
                self._skip(name, reason)
                continue
            try:
                files = self._files(engine)
                with self._announced(f"start {engine.title}"):
                    self.contenders.append(self._start(name, engine, files))
            except WorkerError as error:
                self._skip(name, str(error))

    def race(self) -> None:
        """Round by round every engine in turn, so that a slow minute of the machine slows all alike."""
        plan = self._plan
        columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("time left"), TimeRemainingColumn())
        with Progress(*columns, console=self._console, transient=True) as progress:
            # A call's time grows with the requests in flight, but less than they do: good enough for "time left".
            weights = [rows**0.7 for rows in plan.in_flight] + [1.0] * len(plan.prompt_tokens)
            task = progress.add_task("", total=sum(weights) * plan.rounds * len(self.contenders))
            for rows in plan.in_flight:
                progress.update(task, description=f"{rows} in flight")
                capacity = max(map(len, plan.prompts)) + plan.tokens
                self._warm_up(rows, capacity, plan.group(rows, 0))
                for number in range(plan.rounds):
                    for contender in self._in_turn(number):
                        self._round(contender, contender.rounds.setdefault(rows, []), plan.group(rows, number))
                        progress.advance(task, rows**0.7)
            for length in plan.prompt_tokens:
                progress.update(task, description=f"prompts of {length} tokens")
                self._warm_up(1, length + plan.tokens, [plan.cut(length, 0)])
                for number in range(plan.rounds):
                    for contender in self._in_turn(number):
                        self._round(contender, contender.lengths.setdefault(length, []), [plan.cut(length, number)])
                        progress.advance(task, 1.0)

    def profiles(self) -> dict[str, dict[str, float]]:
        """Share of each operator in our engine, for the fewest and the most requests in flight."""
        plan, found = self._plan, {}
        for rows in sorted({plan.in_flight[0], plan.in_flight[-1]}):
            arguments = (self._setup(Path(), rows), plan.group(rows, 0), plan.tokens)
            if shares := self.measure(f"profile {rows} in flight", "profile", *arguments):
                found[str(rows)] = shares
        return found

    def _files(self, engine: Engine) -> Path:
        """Folder of what the engine reads; made now if it is not there."""
        if not engine.maker:
            return self._bundle.folder
        root, arguments = self._arguments.root, self._arguments
        weights = peer_files.weights_of(self._bundle.manifest, arguments.hub, SHIPPED_ADAPTER)
        hub = arguments.hub or peer_files.files_folder(root, weights, "merged:make_weights", "transformers")
        folder = peer_files.files_folder(root, weights, engine.maker, engine.package)
        if not (folder / peer_files.DONE).is_file():
            with self._announced(f"make the files of {engine.title}"), self._worker("make") as worker:
                if arguments.hub is None:
                    source = (weights.source, weights.gguf_file, weights.adapter, str(hub))
                    worker.ask("call", function=f"{peer_files.__name__}:save_hub", arguments=source)
                made = (engine.maker, str(hub), str(folder))
                worker.ask("call", function=f"{peer_files.__name__}:make_with", arguments=made)
        return folder

    def _start(self, name: str, engine: Engine, files: Path) -> Contender:
        plan = self._plan
        for start in range(1, STARTS + 1):
            worker = self._worker(name)
            worker.ask("open", opener=engine.opener, setup=self._setup(files, plan.in_flight[-1]))
            worker.ask("reserve", rows=1, capacity=len(plan.prompts[0]) + plan.tokens)
            worker.ask("write", prompts=[plan.prompts[0]], tokens=plan.tokens)
            seconds = time.perf_counter() - worker.started
            if start == STARTS:
                self._workers[name] = worker
                return Contender(name, engine, files, seconds)
            worker.close()
        raise AssertionError("STARTS is at least one")

    def _worker(self, name: str) -> Worker:
        """A process that ends with this run at the latest."""
        log = self._arguments.root / "logs" / f"{name}.log"
        settings = {"OMP_NUM_THREADS": str(self._arguments.threads)}
        return self._stack.enter_context(Worker(log, self._arguments.limit_seconds, settings))

    def _setup(self, files: Path, rows_max: int) -> dict[str, Any]:
        setup = Setup(str(self._bundle.folder), str(files), self._arguments.threads, self._plan.prefix, rows_max)
        return asdict(setup)

    @contextmanager
    def _announced(self, title: str) -> Iterator[None]:
        """Say what is being done and, at the end, how long it took."""
        start = time.perf_counter()
        self._console.print(f"  {title} ...", end=" ", markup=False)
        try:
            yield
        finally:
            self._console.print(f"{time.perf_counter() - start:.1f} s")

    def _in_turn(self, number: int) -> Iterator[Contender]:
        """Those still there, beginning with another one each round; one may leave on the way."""
        order = [contender for contender in self.contenders if contender.name not in self.skipped]
        start = number % len(order) if order else 0
        for contender in order[start:] + order[:start]:
            time.sleep(PAUSE_SECONDS)
            yield contender

    def _warm_up(self, rows: int, capacity: int, prompts: Sequence[Ids]) -> None:
        for contender in self._in_turn(0):
            try:
                self._workers[contender.name].ask("reserve", rows=rows, capacity=capacity)
                self._workers[contender.name].ask("write", prompts=prompts, tokens=WARM_UP_TOKENS)
            except WorkerError as error:
                self._drop(contender, f"with {rows} in flight: {error}")

    def _round(self, contender: Contender, rounds: list[Round], prompts: Sequence[Ids]) -> None:
        try:
            answer = self._workers[contender.name].ask("write", prompts=prompts, tokens=self._plan.tokens)
        except WorkerError as error:
            rounds.clear()
            self._drop(contender, f"with {len(prompts)} in flight: {error}")
            return
        contender.idle_cpu_shares.append(answer["idle_cpu_share"])
        rounds.append(Round(answer["seconds"], answer["answers"], answer["peak_bytes"]))

    def _drop(self, contender: Contender, reason: str) -> None:
        self._workers[contender.name].close()
        self._skip(contender.name, reason)

    def _skip(self, name: str, reason: str) -> None:
        self.skipped[name] = reason
        self._console.print(f"  {ENGINES[name].title} is skipped: {reason}", markup=False)
