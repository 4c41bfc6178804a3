"""
Product, channel and seed in; ranked creatives out, field by field.

The writer feeds the labels and the engine generates only the contents, so a malformed creative cannot leave it.
Knows no HTTP and no files but the bundle it is opened on.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
import numpy.typing as npt
from tokenizers import Tokenizer

from model.bundle import Bundle, BundleError, open_bundle
from model.channel import ChannelSpec
from model.creative import Copy, Creative, Passport, creative_id
from model.decoder import EngineError
from model.drafting import Written, finish
from model.engine import Engine
from model.grounding import view
from model.orders import without_orders
from model.product import Product
from model.prompt import VOICES, Prompt, prompt_from_dict
from model.ranking import read_ranking, row_text
from model.sampling import Sampling
from model.tally import EngineCounts
from model.tickets import Slot, Span, Vocabulary, Watch, unwatched
from model.validity import VALIDITY_VERSION, assess

ROWS_MAX = 8
"""Candidates in flight at once: bounds the KV cache to about 8 x 12 MB at 270 tokens; more run in turns."""
CHARS_PER_TOKEN_MIN = 2
"""Tokens allowed a field are its characters over this: English runs at 4, so the character limit decides."""


@dataclass(frozen=True, slots=True)
class Provenance:
    """What a passport says of the running program; no writer can find it out."""

    git_commit: str = ""
    image_digest: str = ""
    registry_version: str = ""
    """Of the model in the registry."""


class Writer:
    """A bundle, opened and warm. Thread-safe; calls take turns at the engine."""

    def __init__(self, bundle: Bundle, *, threads: int = 0, provenance: Provenance = Provenance()) -> None:
        self.bundle = bundle
        self._provenance = asdict(provenance)
        self._ranking = read_ranking()
        self._prompt = _read_prompt(bundle)
        self._tokenizer = _read_tokenizer(bundle)
        texts = _token_texts(self._tokenizer)
        vocabulary = _vocabulary(texts)
        self._digit_tokens = _digit_tokens(texts)
        try:
            self._engine = Engine(bundle.folder, vocabulary, threads=threads)
        except EngineError as error:
            raise BundleError(f"bundle {bundle.folder}: {error}") from error
        if self._prompt.preamble:
            self._engine.keep_prefix(self._encode(self._prompt.preamble))

    @property
    def alive(self) -> bool:
        """Whether the next call can succeed; False once the engine's thread has died or was closed."""
        return self._engine.alive

    @property
    def counts(self) -> EngineCounts:
        """What the engine has done so far."""
        return self._engine.counts

    @property
    def queued(self) -> int:
        """Requests that wait for the engine."""
        return self._engine.load[1]

    def write(
        self,
        product: Product,
        spec: ChannelSpec,
        *,
        voice: str = VOICES[0],
        candidates: int = 4,
        seed: int = 0,
        sampling: Sampling = Sampling(),  # noqa: B008 - frozen
        interactive: bool = True,
        cancelled: Callable[[], bool] = lambda: False,
        watch: Watch = unwatched,
    ) -> tuple[Creative, ...]:
        """
        Write `candidates` creatives and rank them: by validity, then by how likely a careful reader is to find that
        the ad makes sense (see ranking.py).

        The same product, channel, settings and seed give the same creatives, byte for byte. What is not `interactive`
        lets others go first. `watch` is told how many texts have been begun, of how many.
        """
        digest = product.digest()
        product = replace(product, description=without_orders(product.description))
        facts = view(product)
        prompt = self._encode(self._prompt.preamble) + self._encode(self._prompt.product(product, spec, voice))
        slots = self._slots(spec)
        bias = self._ground_digits(product)
        rows: list[list[Span]] = []
        while len(rows) < candidates:
            begun = len(rows) * len(slots)
            rows += self._engine.generate(
                prompt,
                slots,
                rows=min(ROWS_MAX, candidates - len(rows)),
                first_row=len(rows),
                seed=seed,
                sampling=sampling,
                bias=bias,
                interactive=interactive,
                cancelled=cancelled,
                watch=partial(_forward, watch, begun, candidates * len(slots)),
            )
        passport = Passport(
            bundle_digest=self.bundle.digest,
            prompt_digest=self._prompt.digest(),
            product_digest=digest,
            seed=seed,
            voice=voice if self._prompt.voiced else VOICES[0],  # an unvoiced prompt never shows it to the model
            candidates=candidates,
            decoding=asdict(sampling),
            validity_version=VALIDITY_VERSION,
            dataset_digest=self.bundle.manifest.dataset_digest,
            **self._provenance,
        )
        written = [self._written(row, spec) for row in rows]
        drafts = []
        for place, row in enumerate(rows):
            spares = (*written[:place], *written[place + 1 :])
            copy = finish(written[place], product, facts, spec, spares)
            drafts.append((_creative(copy, product, spec, passport), _likelihood(row)))
        words = row_text(product)
        drafts.sort(key=lambda draft: self._ranking.key(draft[0], words, draft[1]))
        return tuple(draft for draft, _ in drafts)

    def raw(
        self, product: Product, spec: ChannelSpec, *, voice: str, rows: int, seed: int
    ) -> list[tuple[Written, float]]:
        """
        What the model writes by itself, no digit masked and nothing mended, with the mean log probability of a token.

        At most the engine's rows at once. For measuring the model; an ad comes from `write`.
        """
        prompt = self._encode(self._prompt.preamble) + self._encode(self._prompt.product(product, spec, voice))
        spans = self._engine.generate(prompt, self._slots(spec), rows=rows, seed=seed, sampling=Sampling())
        return [(self._written(row, spec), _likelihood(row)) for row in spans]

    def close(self) -> None:
        """End the engine's thread; nothing can be written afterwards."""
        self._engine.close()

    def _written(self, row: Sequence[Span], spec: ChannelSpec) -> Written:
        written: dict[str, list[tuple[str, bool]]] = {limits.name: [] for limits in spec.fields}
        for name, span in zip(_slot_fields(spec), row, strict=True):
            written[name].append((self._tokenizer.decode(span.ids), span.complete))
        return written

    def _slots(self, spec: ChannelSpec) -> list[Slot]:
        slots = []
        for place, name in enumerate(_slot_fields(spec)):
            limits = spec.field(name)
            assert limits is not None
            chars_max = limits.chars_budget * (limits.count_written if name == "hashtags" else 1)
            fed = self._encode(self._prompt.label(name, first=place == 0))
            # One character more than the limit: the space that every first token brings along.
            slots.append(Slot(tuple(fed), 1 + chars_max // CHARS_PER_TOKEN_MIN, chars_max + 1))
        return slots

    def _ground_digits(self, product: Product) -> npt.NDArray[np.float32]:
        """Minus infinity on every token with a digit that the product's facts do not show: it cannot be invented."""
        shown = {char for char in product.facts() if char.isnumeric()}
        bias = np.zeros(self._tokenizer.get_vocab_size(), np.float32)
        for ids, digits in self._digit_tokens:
            if not digits <= shown:
                bias[ids] = -np.inf
        return bias

    def _encode(self, text: str) -> list[int]:
        ids: list[int] = self._tokenizer.encode(text, add_special_tokens=False).ids
        return ids


def open_writer(folder: Path, *, threads: int = 0, provenance: Provenance = Provenance()) -> Writer:
    """Verify the bundle in `folder` and load it. Raises BundleError, naming the file at fault."""
    return Writer(open_bundle(folder), threads=threads, provenance=provenance)


def _forward(watch: Watch, before: int, texts: int, begun: int, _of: int) -> None:
    """Progress of one turn as progress of all."""
    watch(before + begun, texts)


def _creative(
    finished: tuple[Copy, tuple[str, ...]], product: Product, spec: ChannelSpec, passport: Passport
) -> Creative:
    words, repairs = finished
    judged = assess(product, words, spec)
    return Creative(
        id=creative_id(product.sku, spec.name, words, passport),
        sku=product.sku,
        channel=spec.name,
        copy=words,
        validity=judged.validity,
        findings=judged.findings,
        passport=passport,
        repairs=repairs,
    )


def _likelihood(row: Sequence[Span]) -> float:
    """Mean log probability of a token over all fields."""
    tokens = sum(len(span.ids) for span in row)
    return sum(span.log_probability for span in row) / max(1, tokens)


def _slot_fields(spec: ChannelSpec) -> list[str]:
    """The field of each slot: one slot a text, but one for all hashtags."""
    return [
        limits.name
        for limits in spec.fields
        for _ in range(1 if limits.name == "hashtags" else limits.count_written)
    ]  # fmt: skip


def _read_prompt(bundle: Bundle) -> Prompt:
    try:
        prompt = prompt_from_dict(json.loads((bundle.folder / "prompt.json").read_text(encoding="utf-8")))
    except (ValueError, KeyError, TypeError) as error:
        raise BundleError(f"bundle {bundle.folder}: prompt.json is not a prompt ({error})") from error
    if prompt.digest() != bundle.manifest.prompt_digest:
        raise BundleError(f"bundle {bundle.folder}: prompt.json is read differently than when the bundle was made")
    return prompt


def _read_tokenizer(bundle: Bundle) -> Tokenizer:
    try:
        return Tokenizer.from_file(str(bundle.folder / "tokenizer.json"))
    except Exception as error:  # the library raises bare Exception
        raise BundleError(f"bundle {bundle.folder}: tokenizer.json does not load ({error})") from error


def _token_texts(tokenizer: Tokenizer) -> list[str]:
    ids = [[token] for token in range(tokenizer.get_vocab_size())]
    texts: list[str] = tokenizer.decode_batch(ids, skip_special_tokens=True)
    return texts


def _vocabulary(texts: Sequence[str]) -> Vocabulary:
    # A token without text is a special one (end of text, end of turn): it ends a field like a line break does.
    return Vocabulary(
        chars=np.array([len(text) for text in texts], np.int32),
        stops=np.array([not text or "\n" in text or "\r" in text for text in texts], np.bool_),
    )


def _digit_tokens(texts: Sequence[str]) -> list[tuple[list[int], frozenset[str]]]:
    """Token ids grouped by the set of digits that their text shows; a fraction such as ½ is a digit too."""
    groups: dict[frozenset[str], list[int]] = {}
    for token, text in enumerate(texts):
        if digits := frozenset(char for char in text if char.isnumeric()):
            groups.setdefault(digits, []).append(token)
    return [(ids, digits) for digits, ids in groups.items()]
