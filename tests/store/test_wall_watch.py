"""A jump of the wall clock that was seen is made good, also by a commit after one that failed."""

from __future__ import annotations

import orjson
import pytest

from tests.store.support import World, options
from trouper.store import asking
from trouper.store.protocol import EndingKind
from trouper.store.questions import Ask

HOUR = 3600.0


@pytest.mark.clause("J5")
async def test_a_jump_whose_commit_failed_is_made_good_by_the_next_one(
    sqlite: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    await sqlite.admit("queued", options=options(queue_timeout_s=10.0))
    sqlite.wall.jump(HOUR)
    calls = 0
    tables = sqlite.store._engine._tables  # type: ignore[attr-defined]
    jumped = tables.clock_jumped

    def fails_once(by_s: float, now: float) -> None:
        nonlocal calls
        calls += 1
        jumped(by_s, now)
        if calls == 1:
            raise MemoryError

    monkeypatch.setattr(tables, "clock_jumped", fails_once)
    with pytest.raises(Exception, match="nothing was committed"):
        await sqlite.store.claim(0)
    claims = await sqlite.store.claim(0)
    assert (claims.ended, claims.next_due_at, calls) == ((), 1010.0 + HOUR, 2)
    await sqlite.store.claim(0)
    assert calls == 2


@pytest.mark.clause("J8")
@pytest.mark.parametrize("dies", [False, True], ids=["rolled back", "ended"])
async def test_a_question_that_was_not_told_of_a_jump_yet_is_told_by_a_later_commit_or_start(
    sqlite: World, monkeypatch: pytest.MonkeyPatch, dies: bool
) -> None:
    for id in ("j1", "j2"):
        question = Ask(key="k", question="Go on?", schema="{}", timeout_s=60.0)
        await sqlite.end(await sqlite.start(id), EndingKind.ASKED, question=question)
    monkeypatch.setattr(asking, "AT_A_TIME", 1)
    sqlite.wall.jump(HOUR)
    await sqlite.store.retry_completion("nobody")
    shown = [orjson.loads(job.asking or "")["expires_at"] for job in await sqlite.store.jobs("ada")]
    assert sorted(shown) == [1060.0, 1060.0 + HOUR], "one at a time"
    if dies:
        await sqlite.restart()
    else:
        tell_moved = asking.tell_moved

        def fails(tx: object) -> None:
            tell_moved(tx)  # type: ignore[arg-type]
            raise MemoryError

        with monkeypatch.context() as broken:
            broken.setattr(asking, "tell_moved", fails)
            with pytest.raises(MemoryError):
                await sqlite.store.claim(0)
    await sqlite.store.claim(0)
    shown = [orjson.loads(job.asking or "")["expires_at"] for job in await sqlite.store.jobs("ada")]
    assert shown == [1060.0 + HOUR] * 2
