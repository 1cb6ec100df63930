"""Hooks of jobs whose rows are damaged: a row that cannot be read does not say whether it has one."""

from __future__ import annotations

from pathlib import Path

import pytest
import trio
from trio.testing import MockClock

import trouper
from tests.store.support import harm
from tests.supervisor.support import Open, slow_seams


@pytest.mark.clause("E1", "N1")
async def test_a_job_without_a_hook_whose_options_are_damaged_leaves_nothing_that_fails(
    opened: Open, tmp_path: Path, autojump_clock: MockClock
) -> None:
    url = f"sqlite:///{tmp_path / 'store.db'}"

    @trouper.job
    async def work(ctx: trouper.JobContext) -> None:
        pass

    async with opened(work, url=url, seams=slow_seams()) as runtime:
        job = await runtime.submit(work.call(), user="ada", delay=60)
    harm(tmp_path / "store.db", "UPDATE jobs SET options = '{'")
    async with opened(work, url=url, seams=slow_seams()) as runtime:
        assert (await runtime.wait(job.id)).reason == "undecodable"
        await trio.sleep(3600)
        hooks = runtime.statistics()["hooks"]
        assert (hooks["done"], hooks["failed"], hooks["dead"]) == (1, 0, 0)
