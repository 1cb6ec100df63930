"""The main job in a real browser: start work, close the tab, come back; tabs, users, kills."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path

import pytest
import trio

import trouper
from tests.browser import chromium
from tests.browser.chromium import Page
from tests.chat.server import ChatServer, chat_server

pytestmark = [pytest.mark.browser, pytest.mark.slow]

REPORT_S = 300.0
"""The longest that a report may take here: it measures for a minute or two."""


@pytest.fixture
def server(tmp_path: Path) -> Iterator[ChatServer]:
    chromium.find()
    with chat_server(tmp_path) as running:
        yield running


def thread_of(page: Page) -> str:
    thread: str = page.until("return location.hash.startsWith('#/t/') && location.hash")
    return thread


def transcript_hash(server: ChatServer, job_id: str) -> str:
    return hashlib.sha256(server.transcript(job_id)).hexdigest()


@pytest.mark.clause("J2", "O2", "O6", "N2")
def test_a_report_goes_on_while_the_tab_is_closed_and_the_page_ends_with_all_of_it(
    server: ChatServer,
) -> None:
    with chromium.browser() as browser:
        page = browser.tab()
        page.log_in(server.url, "ada")
        job = page.start("report")
        address = server.url + "/" + thread_of(page)
        page.until_output(job, "o.entries > 5")
        assert page.state(job) == "running"
        held_before = page.output(job)["entries"]
        page.close()

        browser.network()  # what came before is not what is looked at
        page = browser.first()
        page.open(address)
        assert page.until_state(job, "running", "completed") == "running"
        page.until_output(job, f"o.entries > {held_before}")
        assert page.state(job) == "running"
        loaded = page.script("return performance.getEntriesByType('navigation')[0].loadEventEnd")
        page.until_output(job, "o.status === 'ended'", REPORT_S)
        assert page.until_state(job, "completed") == "completed"

        held = page.output(job)
        assert held["verified"] is True
        assert page.output_hash(job) == transcript_hash(server, job)
        later = page.script(
            "return performance.getEntriesByType('resource')"
            ".filter((e) => e.startTime > arguments[0]).map((e) => e.name)",
            loaded,
        )
        assert later == []
        events = browser.network()
        sockets = [p["url"] for method, p in events if method == "Network.webSocketCreated"]
        assert sockets == [server.url.replace("http", "ws") + "/ws"]
        load = next(at for at, (_, p) in enumerate(events) if p.get("url") == sockets[0])
        requests = [
            p["request"]["url"] for method, p in events[load:] if method == "Network.requestWillBeSent"
        ]
        assert requests == []


@pytest.mark.clause("N2", "N5", "J2", "E1")
def test_tabs_of_one_user_agree_another_user_sees_nothing_and_the_second_tab_stops_the_job(
    server: ChatServer,
) -> None:
    with chromium.browser() as browser, chromium.browser() as other:
        first = browser.first()
        first.log_in(server.url, "ada")
        job = first.start("report")
        second = browser.tab()
        second.open(server.url + "/" + thread_of(first))
        eve = other.first()
        eve.log_in(server.url, "eve")

        second.until_output(job, "o.entries > 2")
        assert second.until_state(job, "running") == "running"
        second.click("stop")
        for page in (first, second):
            assert page.until_state(job, "cancelled") == "cancelled"
            page.until_output(job, "o.status === 'ended'")
        assert first.output_hash(job) == second.output_hash(job)

        asked = second.start("ask", "how do I open a nursery?")
        for page in (first, second):
            page.until_state(asked, "completed", timeout_s=120)
            page.until("return trouperChat.client.getSnapshot().counts.unread <= 1")
        first.until("return trouperChat.client.getSnapshot().counts.unread === 0", timeout_s=30)
        second.until("return trouperChat.client.getSnapshot().counts.unread === 0")
        assert first.counts() == second.counts()
        assert first.bell() == second.bell()

        assert eve.script("return trouperChat.client.getSnapshot().jobs.size") == 0
        assert eve.all("thread") == []
        assert eve.counts() == (0, 0)


@pytest.mark.clause("J6", "N1", "O3", "O6")
def test_a_job_and_its_page_survive_three_kills_with_one_notification(server: ChatServer) -> None:
    with chromium.browser() as browser:
        page = browser.first()
        page.log_in(server.url, "ada")
        server.stop()
        server.start("--kill-at", "output.committed:9")  # committed, and nobody was told
        page.until("return trouperChat.client.state === 'open'", timeout_s=60)
        job = page.start("report")
        server.wait_killed()
        held = page.output(job)["entries"]
        page.until("return document.querySelector('[data-testid=connection]').dataset.status !== 'open'")

        server.start("--kill-at", "output.appended:20")  # written, and not committed
        page.until_output(job, f"o.attempt === 2 && o.entries > {held}", 90)
        server.wait_killed()

        server.start()
        page.until_output(job, "o.attempt === 3 && o.entries > 30", 90)
        server.kill()

        server.start()
        page.until_output(job, "o.status === 'ended'", REPORT_S)
        assert page.until_state(job, "completed") == "completed"
        assert page.output(job)["attempt"] == 4
        assert page.output(job)["verified"] is True
        assert page.output_hash(job) == transcript_hash(server, job)
        check_one_notification(server, page, job)

        for _ in range(2):
            server.kill()
            server.start()
            page.until("return trouperChat.client.state === 'open'", timeout_s=60)
            check_one_notification(server, page, job)


def check_one_notification(server: ChatServer, page: Page, job: str) -> None:
    """In the database, in the page, and for a raw client."""
    assert server.rows("SELECT job, kind FROM notifications") == [(job, "ended")]
    page.until("return document.querySelectorAll('[data-testid=notification]').length === 1")
    cookie = server.log_in("ada")
    url = f"ws://127.0.0.1:{server.port}/ws"

    async def raw() -> list[str]:
        async with trouper.connect(url, headers=[("cookie", cookie)]) as client:
            await client.wait_connected()
            return [notification.job for notification in await client.notifications()]

    assert trio.run(raw) == [job]
