"""All of it together: the server dies by plan while the clients work, and then everything must hold."""

from __future__ import annotations

import random
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import attrs
import trio

import trouper
from tests.torture import checks
from tests.torture.database import opened
from tests.torture.journal import OPTIONS, Journal
from tests.torture.lanes import Lane
from tests.torture.lives import OUTSIDE, Deaths, Lives

Point = tuple[str, int]
"""A fault point, and at which of its occurrences in a life it is fatal."""

DEVICES: Sequence[str] = ("ada", "ada", "eve", "bob")
"""Whose the clients are."""
LANES = 2
"""Of each client."""

PROLOGUE: Sequence[Point] = (("finish.committed", 1), ("output.committed", 3))
"""With one tale each, and nothing else: the first dies when its end is committed and nobody has heard of it;
the second is half told, so that a later attempt must go on from what is left."""

RARE = {"charge.begun": 2, "cancel.told": 1}
"""Fault points that a life comes to less often, and at which occurrence it is fatal at the latest."""

FEED_S = 30.0
"""What a change that is committed may take to reach every client, on the slowest machine."""


def plan(seed: str, kills: dict[str, int]) -> list[Point]:
    """The prologue, and so many kills at each fault point, in an order and at occurrences that are drawn."""
    draw = random.Random(seed)
    sites = [site for site, count in kills.items() for _ in range(count)]
    draw.shuffle(sites)
    return [*PROLOGUE, *((site, draw.randint(1, RARE.get(site, 6))) for site in sites)]


@attrs.frozen
class Outcome:
    deaths: Deaths
    jobs: Counter[str]
    late_writes: int
    verified: int
    copies: int

    def __str__(self) -> str:
        ends = ", ".join(f"{what} {count}" for what, count in sorted(self.jobs.items()))
        return (
            f"{self.deaths}\n{self.jobs.total()} jobs ({ends}); {self.copies} copies held, {self.verified} of"
            f" them to the end and verified by their hash; {self.late_writes} late writes refused"
        )


@asynccontextmanager
async def _clients(port: int) -> AsyncIterator[list[trouper.Client]]:
    async with AsyncExitStack() as stack:
        url = f"ws://127.0.0.1:{port}"
        yield [
            await stack.enter_async_context(trouper.connect(url, token=user, options=OPTIONS))
            for user in DEVICES
        ]


async def torment(folder: Path, points: Sequence[Point], seed: str) -> Outcome:
    """Live through ``points``, then check. Raises ``AssertionError``."""
    lives, journal = Lives(folder), Journal()
    try:
        await lives.start(*map(str, points[0]))
        assert lives.port, "the first life is to begin"
        async with _clients(lives.port) as clients:
            turns: list[defaultdict[str, trio.Lock]] = [defaultdict(trio.Lock) for _ in clients]
            lanes = [
                Lane(clients[device], user, f"{user}{device}-{lane}", journal, turns[device], seed)
                for device, user in enumerate(DEVICES)
                for lane in range(LANES)
            ]
            async with trio.open_nursery() as nursery:
                nursery.start_soon(_prologue, lanes[0])
                for number, (site, occurrence) in enumerate(points):
                    if number == len(PROLOGUE):
                        for lane in lanes:
                            nursery.start_soon(lane.run)
                    if number > 0:
                        await lives.start(site, str(occurrence))
                    await _die(lives, journal, clients, occurrence if site == OUTSIDE else None)
                journal.stop = True
                await lives.start()
            await _see_the_end_of_all(lanes, journal)
            await _see_the_feeds(clients, lives)
            await _hooks_have_run(lives)
    finally:
        with trio.CancelScope(shield=True):
            await lives.kill()
    return _check(lives, journal)


async def _prologue(lane: Lane) -> None:
    for _ in PROLOGUE:
        await lane.follow(await lane.submit("tale", lines=16))


async def _die(
    lives: Lives, journal: Journal, clients: Sequence[trouper.Client], wait_for: int | None
) -> None:
    """Let the server die, from outside after so many pieces of output; then look at what it left."""
    pieces = None if wait_for is None else journal.pieces + 10 * wait_for
    by_itself = await lives.wait_killed(lambda: journal.wait_for(pieces))
    for client in clients:  # what is still under way reaches them first
        while client.connection.state == "connected":
            await client.wait_connection_changed()
    with opened(lives.folder / "store.db") as database:
        if not by_itself:
            running = [row for row in database.jobs().values() if row.state == "running"]
            lives.outside.append(len(running))
        checks.check_copies(database, journal.copies)
        checks.check_kept(database, journal)
        checks.check_ends_stay(database, journal)
    checks.check_late_writes(lives.folder)


async def _see_the_end_of_all(lanes: Sequence[Lane], journal: Journal) -> None:
    """Every job that was acknowledged, by a client of its user."""
    by_user = dict(zip(DEVICES, lanes[::LANES], strict=True))
    for told in list(journal.submitted.values()):
        await by_user[told.user].follow(told.job)


async def _hooks_have_run(lives: Lives) -> None:
    for _ in range(600):
        with opened(lives.folder / "store.db") as database:
            if checks.hooks_left(database) == 0:
                return
        await trio.sleep(0.05)
    raise AssertionError("half a minute after the last end there are still hooks to run")


async def _see_the_feeds(clients: Sequence[trouper.Client], lives: Lives) -> None:
    """Every client comes to hold what the rows have."""
    for client, user in zip(clients, DEVICES, strict=True):
        with opened(lives.folder / "store.db") as database, trio.move_on_after(FEED_S) as waiting:
            async for _ in client.changes():
                if checks.check_feed(database, user, client.feed):
                    break
        assert not waiting.cancelled_caught, f"{user} holds {client.feed.counts}, and the file has others"


def _check(lives: Lives, journal: Journal) -> Outcome:
    with opened(lives.folder / "store.db") as database:
        checks.check_copies(database, journal.copies)
        checks.check_ends(database, journal)
        checks.check_kept(database, journal)
        checks.check_ends_stay(database, journal)
        checks.check_notifications(database, journal)
        checks.check_unsafe(database, lives.folder)
        checks.check_messages(database, journal)
        checks.check_answers(database, journal)
        checks.check_hooks(database, lives.folder)
        verified = checks.check_verified(database, journal)
        jobs = Counter(f"{row.name} {row.state}{' (stuck)' * row.stuck}" for row in database.jobs().values())
    late_writes = checks.check_late_writes(lives.folder)
    assert late_writes > 0, "no attempt was haunted by the one before"
    return Outcome(lives.deaths(), jobs, late_writes, verified, len(journal.copies))
