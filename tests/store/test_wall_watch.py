"""A jump of the wall clock that was seen is made good, also by a commit after one that failed."""

from __future__ import annotations

import pytest

from tests.store.support import World, options

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
