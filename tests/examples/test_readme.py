"""The README's own example, run as it stands there."""

from __future__ import annotations

import re
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import trio
from trio.testing import MockClock

import trouper.testing
from trouper.simulation import Network

README = Path(__file__).resolve().parents[2] / "README.md"


def blocks() -> list[str]:
    found = re.findall(r"```python\n(.*?)```", README.read_text(encoding="utf-8"), re.DOTALL)
    assert len(found) == 3
    return found


def names_of(block: str) -> dict[str, Any]:
    """What a block of the README defines, without running it."""
    names: dict[str, Any] = {"trouper": trouper}
    exec(re.sub(r"^(trio\.run\(.*\)|import trouper\.testing)$", "", block, flags=re.MULTILINE), names)
    return names


@pytest.mark.clause("J5")
async def test_the_job_of_the_readme_goes_on_after_a_crash(autojump_clock: MockClock) -> None:
    job, test, _ = blocks()
    names = names_of(test)
    names["count"] = names_of(job)["count"]
    await names["test_counting_goes_on_after_a_crash"]()


@pytest.mark.clause("O6", "J3")
async def test_the_client_of_the_readme_prints_all_of_the_job_that_the_server_started(
    autojump_clock: MockClock, capsys: pytest.CaptureFixture[str]
) -> None:
    server, _, client = blocks()
    app, network = names_of(server), Network()
    watch = names_of(client.replace('token="secret"', 'token="secret", dial=dial'))["watch"]
    watch.__globals__["dial"] = network.dial
    async with (
        trouper.open_runtime("memory:", jobs=[app["count"]]) as runtime,
        trio.open_nursery() as nursery,
    ):
        job = await runtime.submit(app["count"].call(upto=60), user="ada", idempotency_key="first")
        await nursery.start(partial(trouper.serve, runtime, listen=network.listen, authenticate=app["who"]))
        await watch()
        nursery.cancel_scope.cancel()
        assert (await runtime.wait(job.id)).result == '{"counted":60}'
        assert len(await runtime.jobs("ada")) == 1
    assert capsys.readouterr().out.split() == [str(number) for number in range(60)]
