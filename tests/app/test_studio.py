"""Under load and after a failure: refused, timed out, or told that the writer is gone, but never left hanging."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import anyio
import anyio.to_thread
import httpx
import pytest

from app.problem import ProblemKind
from app.studio import Commission, DeadlineError, Studio, StudioBusyError, StudioDownError
from model.channel import channel
from model.creative import Creative
from model.product import Product
from tests.app.service_client import (
    WAIT_SECONDS_MAX,
    DyingWriter,
    GatedWriter,
    ServiceWriter,
    order,
    service,
    studio_of,
)

pytestmark = pytest.mark.anyio

COMMISSION = Commission(Product("BOWL", "Blue ceramic bowl"), (channel("x"), channel("instagram")), "plain", 1, 0)


async def until_begun(writer: GatedWriter) -> None:
    """Return when the writer has taken a commission out of the queue."""
    assert await anyio.to_thread.run_sync(writer.begun.wait, WAIT_SECONDS_MAX)


async def until_depth(studio: Studio, depth: int) -> None:
    """Return when as many commissions wait."""
    with anyio.fail_after(WAIT_SECONDS_MAX):
        while studio.depth != depth:
            await asyncio.sleep(0)


async def until_closed(studio: Studio) -> None:
    """Return when the studio takes no more commissions, full or not."""
    with anyio.fail_after(WAIT_SECONDS_MAX):
        while True:
            try:
                await studio.write(COMMISSION)
            except StudioBusyError:
                await asyncio.sleep(0)
            except StudioDownError:
                return


async def post(client: httpx.AsyncClient, seed: int = 0) -> httpx.Response:
    return await client.post("/v1/creatives", json=order(seed=seed))


async def answered(client: httpx.AsyncClient, status: int) -> httpx.Response:
    """The first answer of that status: on a busy machine a short deadline may pass before a thread has begun."""
    with anyio.fail_after(WAIT_SECONDS_MAX):
        while (answer := await post(client)).status_code != status:
            await asyncio.sleep(0)
    return answer


async def test_a_request_past_the_queue_is_503_and_one_at_its_end_200() -> None:
    writer = GatedWriter()
    async with service(writer, queue_depth_max=2) as client:
        in_progress = asyncio.create_task(post(client))
        await until_begun(writer)
        waiting = [asyncio.create_task(post(client, seed)) for seed in (1, 2)]
        await until_depth(studio_of(client), 2)
        refused = await post(client)
        writer.gate.set()
        served = await asyncio.gather(in_progress, *waiting)

    assert refused.status_code == 503
    assert refused.json()["type"] == ProblemKind.OVERLOADED.type
    assert 1 <= int(refused.headers["retry-after"]) <= 60
    assert [answer.status_code for answer in served] == [200, 200, 200]


async def test_without_a_queue_one_request_after_the_other_is_served() -> None:
    async with service(queue_depth_max=0) as client:
        statuses = [(await post(client)).status_code for _ in range(20)]

    assert statuses == [200] * 20


async def test_probes_answer_while_the_writer_writes_and_a_full_queue_is_still_ready() -> None:
    writer = GatedWriter()
    async with service(writer, queue_depth_max=0) as client:
        in_progress = asyncio.create_task(post(client))
        await until_begun(writer)
        probes = [await client.get(path) for path in ("/healthz", "/readyz")]
        writer.gate.set()
        await in_progress

    assert [probe.status_code for probe in probes] == [200, 200]


async def test_a_request_past_its_deadline_is_504_and_the_next_one_200() -> None:
    writer = GatedWriter()
    async with service(writer, request_timeout_seconds=0.2) as client:
        late = await answered(client, 504)
        writer.gate.set()
        await answered(client, 200)

    assert late.json()["type"] == ProblemKind.DEADLINE_EXCEEDED.type


async def test_a_waiting_request_that_times_out_gives_its_place_back_and_is_never_written() -> None:
    writer = GatedWriter()
    studio = Studio(writer, queue_depth_max=1, timeout_seconds=0.2)
    studio.start()
    with anyio.fail_after(WAIT_SECONDS_MAX):
        while not writer.begun.is_set():  # or its deadline has passed before the thread has begun: then once more
            in_progress = asyncio.create_task(studio.write(COMMISSION))
            while not (writer.begun.is_set() or in_progress.done()):
                await asyncio.sleep(0.001)
    with pytest.raises(StudioBusyError):
        await studio.write(COMMISSION)
    depth = studio.depth
    with pytest.raises(DeadlineError):
        await in_progress
    writer.gate.set()
    studio.close()

    assert depth == 0
    assert [call[1] for call in writer.calls] == ["x"]  # nor was the second channel of the one in progress


async def test_a_client_that_leaves_gives_its_place_back() -> None:
    writer = GatedWriter()
    studio = Studio(writer, queue_depth_max=1, timeout_seconds=WAIT_SECONDS_MAX)
    studio.start()
    in_progress = asyncio.create_task(studio.write(COMMISSION))
    await until_begun(writer)
    leaving = asyncio.create_task(studio.write(COMMISSION))
    await until_depth(studio, 1)
    leaving.cancel()
    await asyncio.wait([leaving])
    depth = studio.depth
    writer.gate.set()
    written = await in_progress
    studio.close()

    assert depth == 0
    assert [creatives[0].channel for creatives in written] == ["x", "instagram"]


async def test_a_writer_thread_that_dies_fails_its_request_and_turns_the_probes() -> None:
    writer = DyingWriter()
    writer.gate.set()
    async with service(writer) as client:
        first = await post(client)
        with anyio.fail_after(WAIT_SECONDS_MAX):
            while not studio_of(client).trouble():
                await asyncio.sleep(0)
        second = await post(client)
        probes = [await client.get(path) for path in ("/healthz", "/readyz")]

    assert [answer.status_code for answer in (first, second, *probes)] == [503] * 4
    assert {answer.json()["type"] for answer in (first, second, *probes)} == {ProblemKind.NOT_READY.type}


async def test_requests_that_wait_behind_a_dying_writer_fail_too() -> None:
    writer = DyingWriter()
    studio = Studio(writer, queue_depth_max=5, timeout_seconds=WAIT_SECONDS_MAX)
    studio.start()
    tasks = [asyncio.create_task(studio.write(COMMISSION)) for _ in range(4)]
    await until_begun(writer)
    await until_depth(studio, 3)
    writer.gate.set()
    with anyio.fail_after(WAIT_SECONDS_MAX / 2):
        outcomes = await asyncio.gather(*tasks, return_exceptions=True)

    assert [type(outcome) for outcome in outcomes] == [StudioDownError] * 4


async def test_a_writer_stuck_past_twice_the_timeout_is_trouble_and_before_that_not() -> None:
    now = [100.0]
    writer = GatedWriter()
    studio = Studio(writer, queue_depth_max=1, timeout_seconds=10.0, clock=lambda: now[0])
    studio.start()
    task = asyncio.create_task(studio.write(COMMISSION))
    await until_begun(writer)
    now[0] = 120.0
    before = studio.trouble()
    now[0] = 120.1
    after = studio.trouble()
    writer.gate.set()
    with pytest.raises(DeadlineError):
        await task
    recovered = studio.trouble()
    studio.close()

    assert before == ""
    assert "stuck" in after
    assert recovered == ""


async def test_retry_after_grows_with_the_queue_and_with_how_long_writing_takes() -> None:
    now = [0.0]

    class SlowWriter(ServiceWriter):
        def words(self, *_: object) -> tuple[()]:
            now[0] += 10.0
            return ()

    quick = Studio(ServiceWriter(), queue_depth_max=0, timeout_seconds=60.0)
    slow = Studio(SlowWriter(), queue_depth_max=0, timeout_seconds=60.0, clock=lambda: now[0])
    slow.start()
    for _ in range(3):
        await slow.write(COMMISSION)
    slow.close()

    assert quick._retry_after_seconds() == 1
    assert slow._retry_after_seconds() > 5


class TickingWriter(GatedWriter):
    """Takes so many seconds of a clock of the test for each channel."""

    def __init__(self, seconds: float) -> None:
        super().__init__()
        self.now = 0.0
        self.seconds = seconds

    def words(self, *given: Any) -> Any:
        self.now += self.seconds
        return super().words(*given)


async def known_to_take(seconds: float, *, timeout_seconds: float) -> tuple[TickingWriter, Studio]:
    """A studio that has written enough to know how long a channel takes; its gate is shut again."""
    writer = TickingWriter(seconds)
    studio = Studio(writer, queue_depth_max=9, timeout_seconds=timeout_seconds, clock=lambda: writer.now)
    studio.start()
    writer.gate.set()
    for _ in range(30):
        await studio.write(COMMISSION)
    writer.gate.clear()
    writer.begun.clear()
    return writer, studio


@pytest.mark.parametrize(("timeout_seconds", "is_taken"), [(29.0, False), (32.0, True)])
async def test_what_could_not_be_written_in_time_is_refused_at_once(timeout_seconds: float, is_taken: bool) -> None:
    writer, studio = await known_to_take(10.0, timeout_seconds=timeout_seconds)
    in_progress = asyncio.create_task(studio.write(COMMISSION))  # of two channels: one is reckoned as done
    await until_begun(writer)
    waiting = asyncio.create_task(studio.write(COMMISSION))  # 10 s more of it, and 20 s of its own
    await (until_depth(studio, 1) if is_taken else asyncio.wait([waiting]))
    writer.seconds = 0.0
    writer.gate.set()
    await in_progress
    outcome = (await asyncio.gather(waiting, return_exceptions=True))[0]
    studio.close()

    assert isinstance(outcome, StudioBusyError) is not is_taken


async def test_however_slow_it_was_what_need_not_wait_is_begun() -> None:
    writer, studio = await known_to_take(10.0, timeout_seconds=20.0)
    writer.seconds = 1.0
    writer.gate.set()
    written = await studio.write(COMMISSION)
    studio.close()

    assert len(written) == 2


async def test_what_has_waited_too_long_is_refused_and_the_next_is_written() -> None:
    writer, studio = await known_to_take(1.0, timeout_seconds=WAIT_SECONDS_MAX)
    in_progress = asyncio.create_task(studio.write(COMMISSION))
    await until_begun(writer)
    late = asyncio.create_task(studio.write(COMMISSION))
    await until_depth(studio, 1)
    writer.now += WAIT_SECONDS_MAX - 1  # less than it may wait, and too much for two channels more
    writer.seconds = 0.0
    writer.gate.set()
    with pytest.raises(StudioBusyError):
        await late
    await in_progress
    begun = len(writer.calls)
    written = await studio.write(COMMISSION)
    studio.close()

    assert len(written) == 2
    assert len(writer.calls) == begun + 2


async def test_a_closed_studio_takes_nothing_and_leaves_nobody_waiting() -> None:
    writer = GatedWriter()
    studio = Studio(writer, queue_depth_max=1, timeout_seconds=WAIT_SECONDS_MAX)
    studio.start()
    in_progress = asyncio.create_task(studio.write(COMMISSION))
    await until_begun(writer)
    waiting = asyncio.create_task(studio.write(COMMISSION))
    await until_depth(studio, 1)
    with pytest.raises(StudioBusyError):
        await studio.write(COMMISSION)
    closing = asyncio.create_task(anyio.to_thread.run_sync(studio.close))
    await until_closed(studio)
    writer.gate.set()
    await closing

    assert len(await in_progress) == 2
    with pytest.raises(StudioDownError):
        await waiting
    with pytest.raises(StudioDownError):
        await studio.write(COMMISSION)


async def test_requests_are_written_side_by_side_as_far_as_there_are_writers() -> None:
    class MeetingWriter(ServiceWriter):
        meeting = threading.Barrier(2, timeout=WAIT_SECONDS_MAX)

        def words(self, *order: Any) -> tuple[Creative, ...]:
            self.meeting.wait()  # passes only where two write at once
            return super().words(*order)

    async with service(MeetingWriter(), writers=2) as client:
        answers = await asyncio.gather(*(post(client, seed) for seed in range(4)))

    assert [answer.status_code for answer in answers] == [200] * 4


async def test_a_dead_engine_turns_readiness_off() -> None:
    writer = ServiceWriter()
    async with service(writer) as client:
        before = await client.get("/readyz")
        writer.alive = False
        after = await client.get("/readyz")

    assert [before.status_code, after.status_code] == [200, 503]
    assert "the writer's engine is down" in after.text
