"""Makes the pictures of docs/img: ``.venv/bin/python -m tests.browser.screenshots``.

They show the example chat on real work: a report under way, questions, a question back, the phone, a lost
connection.
"""

from __future__ import annotations

import tempfile
import time
from pathlib import Path

from tests.browser import chromium
from tests.browser.chromium import Page
from tests.chat.server import ROOT, ChatServer, chat_server

IMAGES = ROOT / "docs" / "img"


def main() -> None:
    """Take them all, one after the other."""
    IMAGES.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder, chat_server(Path(folder), "--demo") as server:
        _shots(server)


def _shots(server: ChatServer) -> None:
    with chromium.browser(1280, 800) as wide, chromium.browser(390, 844) as narrow:
        page = wide.first()
        page.log_in(server.url, "Ada")
        asked = page.start("ask", "how do I open a nursery?")
        page.until_state(asked, "completed", timeout_s=120)
        report = page.start("report")
        thread = page.until("return location.hash.startsWith('#/t/') && location.hash")
        page.until_output(report, "o.entries > 24", 120)
        page.screenshot(str(IMAGES / "wide.png"))

        phone = narrow.first()
        phone.driver.execute_cdp_cmd(
            "Emulation.setDeviceMetricsOverride",
            {"width": 390, "height": 844, "deviceScaleFactor": 2, "mobile": True},
        )
        phone.log_in(server.url, "Ada")
        phone.open(server.url + "/" + thread)
        phone.driver.refresh()
        phone.until_output(report, "o.entries > 24", 60)
        time.sleep(1)
        phone.screenshot(str(IMAGES / "phone.png"))

        page.click("demo-frames")
        page.click("demo-cut")
        page.until("return document.querySelector('[data-testid=connection]').dataset.status === 'waiting'")
        time.sleep(0.5)
        page.screenshot(str(IMAGES / "reconnecting.png"))
        page.until("return trouperChat.client.state === 'open'")
        held = page.output(report)["entries"]
        page.click("demo-kill")
        page.until("return trouperChat.client.state !== 'open'")
        page.until_output(report, f"o.attempt >= 2 && o.entries > {held} + 4", 120)
        page.screenshot(str(IMAGES / "demo-drawer.png"))
        page.click("stop")
        _question(server, page, phone)


def _question(server: ChatServer, page: Page, phone: Page) -> None:
    """A review that asks, at a desk and, in the dark, on a phone; there it is answered and told something."""
    page.click("demo-frames")
    phone.driver.execute_cdp_cmd(
        "Emulation.setEmulatedMedia", {"features": [{"name": "prefers-color-scheme", "value": "dark"}]}
    )
    review = page.start("review")
    phone.open(server.url + "/" + page.script("return location.hash"))
    phone.driver.refresh()
    for each in (page, phone):
        each.until("return !!document.querySelector('[data-testid=question]:not([hidden])')")
    field = page.one("field", '[data-name="most"] input')
    field.clear()
    field.send_keys("500")
    page.click("answer")
    page.until("return !!document.querySelector('[data-testid=fault]:not([hidden])')")
    time.sleep(0.5)
    page.screenshot(str(IMAGES / "question.png"))
    phone.click("answer")
    phone.until_output(review, "o.entries > 4", 60)
    phone.one("tell").send_keys("shorter, please\n")
    phone.until("return !!document.querySelector('[data-testid=said][data-status=heard]')")
    time.sleep(0.5)
    phone.screenshot(str(IMAGES / "told-phone.png"))
    _waiting(server, page, phone)


def _waiting(server: ChatServer, page: Page, phone: Page) -> None:
    """What was told to a review that asks, and a question behind it, on a phone that has just been opened."""
    review = page.start("review")
    page.until("return !!document.querySelector('[data-testid=question]:not([hidden])')")
    for text in ("skip trio", "shorter, please, and no import times"):
        page.script("return trouperChat.client.signal(arguments[0], { text: arguments[1] })", review, text)
    page.send("ask", "how do I open a nursery?")
    phone.open(server.url + "/" + page.script("return location.hash"))
    phone.driver.refresh()
    phone.until("return document.querySelectorAll('[data-testid=said][data-status=accepted]').length === 2")
    phone.until("return document.querySelectorAll('[data-testid=message]').length === 2")
    phone.script("document.getElementById('scroll').scrollTop = 0")
    time.sleep(1)
    phone.screenshot(str(IMAGES / "waiting-phone.png"))


if __name__ == "__main__":
    main()
