"""A database file is input: whatever it holds, what is damaged is shown as such and the rest goes on."""

from __future__ import annotations

import pytest

from tests.store.support import Source, World, harm, look, options, sha256
from trouper.store.errors import StoreCorrupt
from trouper.store.protocol import EndingKind, RefusalReason, Refused, Saved
from trouper.store.records import JobState
from trouper.store.rules import UNDECODABLE

pytestmark = pytest.mark.clause("E1")


@pytest.mark.parametrize(
    "assignment",
    [
        "options = 'no json'",
        "options = '[]'",
        """options = '{"attempts": "many"}'""",
        """options = '{"notify_on": [1]}'""",
        """options = '{"timeout_s": "x"}'""",
        """options = '{"new": 1}'""",
        "keeps = '[\"x\"]'",
        "keeps = x'00'",
        "fence = 'high'",
        "created_at = 'today'",
    ],
)
async def test_a_damaged_row_is_shown_as_such_and_ended_instead_of_run(
    sqlite: World, assignment: str
) -> None:
    await sqlite.admit("j1")
    await sqlite.admit("j2")
    harm(sqlite.path, f"UPDATE jobs SET {assignment} WHERE id = 'j1'")
    shown = await sqlite.row("j1")
    assert shown.reason == UNDECODABLE
    assert shown.error is not None
    assert assignment.split(" ")[0] in shown.error
    assert [job.id for job in await sqlite.store.jobs("ada")] == ["j2", "j1"]
    claims = await sqlite.store.claim(5)
    assert [job.id for job in claims.started] == ["j2"]
    assert [(job.id, job.state, job.reason) for job in claims.ended] == [("j1", JobState.LOST, UNDECODABLE)]
    assert await sqlite.row("j1") == claims.ended[0]


async def test_a_row_in_a_state_that_does_not_exist_is_shown_as_lost(sqlite: World) -> None:
    await sqlite.admit("j1")
    harm(sqlite.path, "UPDATE jobs SET state = 'dancing' WHERE id = 'j1'")
    row = await sqlite.row("j1")
    assert (row.state, row.reason) == (JobState.LOST, UNDECODABLE)
    assert (await sqlite.store.claim(5)).started == ()


async def test_text_that_is_no_utf8_does_not_fail_the_list_it_is_in(sqlite: World) -> None:
    await sqlite.end(await sqlite.start("j1"))
    await sqlite.admit("j2")
    harm(sqlite.path, "UPDATE jobs SET error = CAST(x'ff41' AS TEXT) WHERE id = 'j1'")
    assert [job.error for job in await sqlite.store.jobs("ada")] == [None, "\ufffdA"]


async def test_a_damaged_notification_is_shown_as_such(sqlite: World) -> None:
    await sqlite.end(await sqlite.start("j1"))
    harm(sqlite.path, "UPDATE notifications SET created_at = 'x'")
    (notification,) = await sqlite.store.notifications("ada")
    assert (notification.job, notification.title) == ("j1", "(a notification that cannot be read)")


async def test_a_damaged_block_fails_its_reader_and_no_other(sqlite: World) -> None:
    for id in ("j1", "j2"):
        job = await sqlite.start(id)
        await sqlite.write(job, "a")
        await sqlite.end(job)
    harm(sqlite.path, "UPDATE blocks SET body = x'00' WHERE job = 1")
    with pytest.raises(StoreCorrupt):
        await sqlite.log("j1")
    assert await sqlite.log("j2") == ("a",)


@pytest.mark.parametrize("body", ["x'00'", "'[1]'", '\'[["a","b","c"]]\'', "'{}'", "'[\"a\"]'"])
async def test_a_job_whose_output_is_damaged_is_lost_with_what_can_be_read_and_stops_no_other(
    sqlite: World, body: str
) -> None:
    job = await sqlite.start("j1", options=options(attempts=5))
    for part in ("x", "y"):
        await sqlite.write(job, part * 70_000, "end")
    await sqlite.write(job, "saved")
    assert isinstance(await sqlite.savepoint(job, 5), Saved)
    await sqlite.write(job, "z" * 70_000)
    await sqlite.admit("j2")
    await sqlite.restart()
    harm(sqlite.path, f"UPDATE blocks SET body = {body} WHERE start = 4")
    claims = await sqlite.store.claim(5)
    (ended,) = claims.ended
    assert (ended.state, ended.reason, ended.entries) == (JobState.LOST, UNDECODABLE, 4)
    readable = ("x" * 70_000, "end", "y" * 70_000, "end")
    assert (await sqlite.log("j1"), ended.sha256) == (readable, sha256(readable))
    assert [job.id for job in claims.started] == ["j2"]
    assert len(look(sqlite.path, "SELECT * FROM set_aside")) == 1


async def test_a_job_whose_saved_output_is_gone_is_lost(sqlite: World) -> None:
    job = await sqlite.start("j1", options=options(attempts=5))
    await sqlite.write(job, "a")
    await sqlite.savepoint(job, 1)
    await sqlite.end(job, EndingKind.RELEASED)
    harm(sqlite.path, "DELETE FROM blocks")
    (ended,) = (await sqlite.store.claim(5)).ended
    assert (ended.reason, ended.entries, ended.sha256) == (UNDECODABLE, 0, sha256([]))


@pytest.mark.parametrize("body", ["x'00'", "'{}'", "'[7]'", "'[[1,1,1,0,7]]'", "'[[1,1,1,0,[7]]]'"])
async def test_a_damaged_journal_row_is_set_aside_and_its_log_ends_before_it(
    sqlite: World, body: str
) -> None:
    for id in ("j1", "j2"):
        job = await sqlite.start(id)
        for entry in ("a", "b", "c"):
            await sqlite.write(job, entry)
    await sqlite.close()
    harm(sqlite.path, f"UPDATE journal SET body = {body} WHERE seq = 2")
    await sqlite.restart()
    assert (await sqlite.log("j1"), await sqlite.log("j2")) == (("a",), ("a", "b", "c"))
    assert [source for (source,) in look(sqlite.path, "SELECT source FROM set_aside")] == ["journal"]


async def test_a_repetition_over_a_damaged_block_is_refused_for_good(sqlite: World) -> None:
    job = await sqlite.start("j1")
    await sqlite.write(job, "x" * 70_000)
    harm(sqlite.path, "UPDATE blocks SET body = x'00'")
    answer = await Source(sqlite.store, job).commit("x" * 70_000, "y")
    assert isinstance(answer, Refused)
    assert answer.reason is RefusalReason.POISONED
