"""A tab that is hidden, offline, frozen or asleep with its machine, in a real browser; its job goes on."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.browser import chromium
from tests.browser.chromium import Browser, Page
from tests.chat.server import ChatServer, chat_server

pytestmark = [pytest.mark.browser, pytest.mark.slow]

PROC = Path("/proc")


@pytest.fixture
def server(tmp_path: Path) -> Iterator[ChatServer]:
    chromium.find()
    with chat_server(tmp_path) as running:
        yield running


@contextmanager
def hidden(browser: Browser, page: Page) -> Iterator[None]:
    """Its window is minimized."""
    page.script("")
    browser.driver.minimize_window()
    page.until("return document.visibilityState === 'hidden'")
    yield
    browser.driver.set_window_rect(0, 0, 1280, 800)
    page.until("return document.visibilityState === 'visible'")


@contextmanager
def offline(browser: Browser, page: Page) -> Iterator[None]:
    conditions = {"latency": 0, "downloadThroughput": -1, "uploadThroughput": -1}
    page.script("")
    browser.driver.execute_cdp_cmd("Network.enable", {})
    browser.driver.execute_cdp_cmd("Network.emulateNetworkConditions", {"offline": True, **conditions})
    page.script("trouperChat.client._socket.close()")  # what the system does when a network is gone
    page.until("return trouperChat.client.state !== 'open'")
    yield
    assert page.script("return trouperChat.client.state") != "open"
    browser.driver.execute_cdp_cmd("Network.emulateNetworkConditions", {"offline": False, **conditions})


@contextmanager
def frozen(browser: Browser, page: Page) -> Iterator[None]:
    """No timer, no event of a socket: as a browser does to tabs that it wants to forget."""
    page.script("")
    browser.driver.execute_cdp_cmd("Page.setWebLifecycleState", {"state": "frozen"})
    yield
    browser.driver.execute_cdp_cmd("Page.setWebLifecycleState", {"state": "active"})


@contextmanager
def asleep(browser: Browser, page: Page) -> Iterator[None]:
    """No process of the browser runs: the machine sleeps."""
    pids = below(browser.driver.service.process.pid)
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    yield
    for pid in pids:
        os.kill(pid, signal.SIGCONT)


def below(pid: int) -> list[int]:
    """The processes that descend from one that a test has started."""
    children = PROC / str(pid) / "task" / str(pid) / "children"
    found: list[int] = []
    for child in map(int, children.read_text().split()):
        found += [child, *below(child)]
    return found


@pytest.mark.clause("J2", "O2", "O4", "O6")
@pytest.mark.skipif(not PROC.exists(), reason=f"there is no {PROC} to find the browser's processes in")
def test_a_tab_that_was_hidden_offline_frozen_and_asleep_holds_all_of_its_job_in_the_end(
    server: ChatServer,
) -> None:
    with chromium.browser() as browser, chromium.browser() as other:
        witness, page = other.first(), browser.first()
        for each in (witness, page):
            each.log_in(server.url, "ada")
        job = page.start("report")
        witness.open(page.script("return location.href"))
        for way in (hidden, offline, frozen, asleep):
            page.until_output(job, "o.entries > 3")
            before = witness.output(job)["entries"]
            with way(browser, page):
                witness.until_output(job, f"o.entries > {before + 10}")
                missed = witness.output(job)["entries"]
            page.until_output(job, f"o.entries >= {missed}")
            assert page.state(job) == "running", f"the report was over before it could be looked at {way}"
        with frozen(browser, page):  # … and the end comes while it sees nothing
            witness.click("stop")
            witness.until_output(job, "o.status === 'ended'")
        for each in (page, witness):
            each.until_output(job, "o.status === 'ended'")
            assert each.output(job)["verified"] is True
            assert each.until_state(job, "cancelled") == "cancelled"
            each.until("return document.querySelector('[data-testid=output]').ariaBusy === 'false'")
            assert not each.one("stop").is_displayed()
        assert page.output_hash(job) == witness.output_hash(job)
        assert page.output(job)["rewinds"] == witness.output(job)["rewinds"]
