"""docs/guide.md: its blocks are one program, and that does what the page says of it."""

from __future__ import annotations

import json
import signal
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import trio
from trio.testing import MockClock

import trouper
from tests.meta.source import ROOT
from tests.meta.test_house import fenced
from trouper.simulation import Network

PAGE = (ROOT / "docs" / "guide.md").read_text(encoding="utf-8")


@pytest.fixture
def guide() -> dict[str, Any]:
    """What the page defines, all of it anew."""
    names: dict[str, Any] = {"__name__": "guide"}
    for block in fenced(PAGE, "python"):
        exec(block, names)
    return names


def rows(guide: dict[str, Any], table: str) -> list[tuple[Any, ...]]:
    found: list[tuple[Any, ...]] = guide["shop"].execute(f"SELECT * FROM {table}").fetchall()
    return found


async def until(true: Callable[[], object]) -> None:
    """Wait in virtual time."""
    with trio.fail_after(60):
        while not true():  # noqa: ASYNC110  # some of it is told by nobody
            await trio.sleep(0.1)


@pytest.mark.clause("J7", "J8", "N1", "E3")
async def test_the_service_of_the_guide_asks_is_told_keeps_the_result_and_stops_at_a_signal(
    guide: dict[str, Any], tmp_path: Path, autojump_clock: MockClock
) -> None:
    network, main = Network(), guide["main"]
    listening = partial(trouper.serve, listen=network.listen)
    guide["trouper"] = _changed(
        open_runtime=lambda url, jobs: trouper.open_runtime("memory:", jobs=jobs),
        serve=lambda runtime, *, port, static, **how: listening(runtime, **how),
    )
    async with trio.open_nursery() as nursery:
        stopped = trio.Event()

        async def serve() -> None:
            await main()
            stopped.set()

        nursery.start_soon(serve)
        async with trouper.connect("ws://simulated", token="secret", dial=network.dial) as client:
            job = await client.submit("order", {"items": ["socks", "hat"], "gift": True}, key="k")
            await until(lambda: job.id in client.feed.jobs and client.feed.jobs[job.id].asking)
            assert await client.answer(job.id, "wrap", "red") == "accepted"
            assert await client.signal(job.id, "leave it at the door") == "accepted"
            assert await client.text(job.id) == "packed socks\npacked hat\n"
            ended = await client.job(job.id)
            assert ended.result == {"wrap": "red", "note": "leave it at the door"}
            await until(lambda: rows(guide, "orders"))
            assert rows(guide, "orders") == [
                (job.id, "completed", json.dumps(ended.result, separators=(",", ":")))
            ]
            shown = await guide["orders"](trouper.Request(method="GET", target="/orders", headers={}))
            assert json.loads(shown.body) == [[job.id, "completed"]]
            signal.raise_signal(signal.SIGTERM)
            await stopped.wait()


@pytest.mark.clause("J8", "N2", "N3")
async def test_the_program_that_answers_all_is_told_of_each_end(
    guide: dict[str, Any], autojump_clock: MockClock
) -> None:
    network = Network()
    async with (
        trouper.open_runtime("memory:", jobs=[guide["order"]]) as runtime,
        trio.open_nursery() as nursery,
    ):
        for thread in ("a", "b"):
            await runtime.submit(guide["order"].call(items=["hat"], gift=True), user="ada", thread=thread)
        serve = partial(trouper.serve, runtime, listen=network.listen, authenticate=guide["who"])
        await nursery.start(serve)
        async with trouper.connect("ws://simulated", token="secret", dial=network.dial) as client:
            with trio.fail_after(60):
                await client.wait_connected()
                titles = await guide["answer_all"](client)
        assert titles[:2] == ["order completed", "order completed"]
        assert [json.loads(job.result or "")["wrap"] for job in await runtime.jobs("ada")] == ["blue"] * 2
        nursery.cancel_scope.cancel()


def _changed(**names: Any) -> Any:
    """``trouper`` with some names of it replaced, for a page that says where it listens."""
    return type("Trouper", (), {**{name: getattr(trouper, name) for name in trouper.__all__}, **names})


@pytest.mark.clause("J3")
async def test_the_same_cart_is_one_order_and_other_items_are_a_conflict(
    guide: dict[str, Any], autojump_clock: MockClock
) -> None:
    async with trouper.open_runtime("memory:", jobs=[guide["order"]]) as runtime:
        job = await guide["ask_for"](runtime, "cart")
        assert (await guide["ask_for"](runtime, "cart")).id == job.id
        await runtime.submit(guide["order"].call(items=["tie"]), user="ada", idempotency_key="other")
        with pytest.raises(ValueError, match="ordered with other items"):
            await guide["ask_for"](runtime, "other")


@pytest.mark.clause("N2")
async def test_a_gateway_of_your_own_tells_what_a_job_becomes(
    guide: dict[str, Any], autojump_clock: MockClock
) -> None:
    sent: list[tuple[str, str]] = []

    async def send(text: str) -> None:
        told = json.loads(text)
        sent.append((told["job"], told["state"]))

    async with (
        trouper.open_runtime("memory:", jobs=[guide["order"]]) as runtime,
        trio.open_nursery() as nursery,
    ):
        nursery.start_soon(guide["tell"], runtime, "ada", send)
        job = await runtime.submit(guide["order"].call(items=["socks"]), user="ada")
        await until(lambda: (job.id, "completed") in sent)
        assert (job.id, "running") in sent
        nursery.cancel_scope.cancel()


@pytest.mark.clause("J6", "J5")
async def test_the_card_is_charged_once_at_most_wherever_the_job_of_the_guide_crashes(
    guide: dict[str, Any], autojump_clock: MockClock
) -> None:
    await guide["test_wherever_it_crashes_the_card_is_charged_once_at_most"]()


@pytest.mark.clause("J5", "J6")
def test_the_sweep_of_the_guide_finds_nothing_in_its_job(guide: dict[str, Any]) -> None:
    guide["test_whatever_await_of_the_job_fails_it_is_completed_and_charged_once"]()


async def test_the_store_of_the_guide_is_used_by_a_runtime(
    guide: dict[str, Any], autojump_clock: MockClock
) -> None:
    assert await guide["count_ends"]() == 1


def test_the_store_of_the_guide_keeps_to_the_contract(guide: dict[str, Any]) -> None:
    suite = guide["TestCountingStore"]
    suite.HISTORIES = 5
    suite().test_random_histories_agree_with_the_model()


def test_the_picture_of_the_guide_has_every_state_and_the_page_the_true_defaults() -> None:
    picture = PAGE.split("```")[1]
    assert [state for state in trouper.JobState if f" {state}" not in picture] == []
    assert trouper.Retry().attempts == 1
    assert trouper.JobLimits().grace_s == 5
    assert trouper.RuntimeOptions().unknown_job_s == 3_600
    assert trouper.ChannelLimits().window_bytes == 256 * 1024
    assert tries_of_a_hook() == 10


def tries_of_a_hook() -> int:
    """How often a hook is tried that says nothing of it."""

    @trouper.job
    async def nothing(ctx: trouper.JobContext) -> None: ...

    @nothing.on_ended
    async def hook(job: trouper.Job) -> None: ...

    assert nothing.hook is not None
    return nothing.hook.retry.attempts
