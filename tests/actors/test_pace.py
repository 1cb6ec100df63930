"""When a write must give way: counted for the loop, not for each job."""

from __future__ import annotations

import trio

from trouper.actors.pace import Pace


def wrote(pace: Pace, now: float) -> bool:
    return pace.wrote(now, 3, 0.5)


def test_a_task_that_runs_on_gives_way_after_so_many_writes_and_after_so_long() -> None:
    pace = Pace()
    assert [wrote(pace, 0.1) for _ in range(3)] == [False, False, True]
    pace.gave_way(0.1)
    assert [wrote(pace, at) for at in (0.2, 0.59, 0.6)] == [False, False, True]
    pace.gave_way(0.6)
    assert not wrote(pace, 1.0)
    assert wrote(pace, 1.1)


def test_writes_of_jobs_that_give_way_by_themselves_share_one_count() -> None:
    pace = Pace()
    due = [wrote(pace, 0.1) for _ in ("a", "b", "c")]
    assert due == [False, False, True], "one checkpoint for all of them, not one for each"


def test_when_the_loop_is_late_one_of_those_that_write_gives_way_and_not_each() -> None:
    pace = Pace()
    assert [wrote(pace, at) for at in (0.6, 0.61, 0.62)] == [True, False, False]
    assert [wrote(pace, 0.63) for _ in "ab"] == [True, False], "who runs on meets the bound all the same"


async def test_a_loop_of_writes_never_keeps_the_others_from_their_turn() -> None:
    pace = Pace()
    turns: list[str] = []

    async def busy(name: str) -> None:
        for _ in range(30):
            if pace.wrote(0.0, 5, 1.0):
                await trio.lowlevel.checkpoint()
                pace.gave_way(0.0)
                turns.append(name)

    async with trio.open_nursery() as nursery:
        for name in "ab":
            nursery.start_soon(busy, name)
    assert len(turns) > 6
    assert all(abs(turns[:n].count("a") - turns[:n].count("b")) <= 1 for n in range(len(turns)))
