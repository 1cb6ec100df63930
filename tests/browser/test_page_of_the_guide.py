"""The page of docs/guide.md, as it stands there, in a real browser with the program of that page."""

from __future__ import annotations

import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from selenium.common.exceptions import WebDriverException
from selenium.webdriver.remote.webdriver import WebDriver
from selenium.webdriver.support.ui import WebDriverWait

from tests.browser import chromium
from tests.browser.chromium import Page
from tests.meta.source import ROOT
from tests.meta.test_house import fenced

pytestmark = [pytest.mark.browser, pytest.mark.slow]

GUIDE = (ROOT / "docs" / "guide.md").read_text(encoding="utf-8")


@pytest.fixture
def url(tmp_path: Path) -> Iterator[str]:
    """Where the program of the guide runs."""
    chromium.find()
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    (tmp_path / "page").mkdir()
    (tmp_path / "page" / "index.html").write_text(fenced(GUIDE, "html")[0], encoding="utf-8")
    (tmp_path / "page" / "page.js").write_text(fenced(GUIDE, "js")[0], encoding="utf-8")
    blocks = fenced(GUIDE, "python")
    until_main = blocks[: next(at for at, block in enumerate(blocks) if "async def main" in block) + 1]
    program = "\n".join(until_main).replace("port=8000", f"port={port}") + "\ntrio.run(main)\n"
    (tmp_path / "program.py").write_text(program, encoding="utf-8")
    with subprocess.Popen([sys.executable, "program.py"], cwd=tmp_path) as running:
        try:
            yield f"http://127.0.0.1:{port}"
        finally:
            running.terminate()
            assert running.wait(60) == 0, "SIGTERM is an ordered stop"


def open_page(page: Page, url: str) -> None:
    """Load it; at first nobody listens yet."""

    def loads(driver: WebDriver) -> bool:
        driver.get(url)
        return True

    WebDriverWait(page.driver, 30, poll_frequency=0.1, ignored_exceptions=[WebDriverException]).until(loads)


@pytest.mark.clause("O2", "J2", "N2")
def test_the_page_of_the_guide_shows_a_job_after_a_reload_and_on_another_device_which_stops_it(
    url: str,
) -> None:
    output = "return document.getElementById('output').textContent"
    state = "return document.getElementById('state').textContent"
    with chromium.browser() as desk, chromium.browser() as phone:
        page, other = desk.first(), phone.first()
        open_page(page, url)
        page.script("document.getElementById('go').click()")
        page.until(f"{output}.includes('packed socks\\n')")
        page.driver.refresh()
        open_page(other, url)
        for each in (page, other):
            each.until(f"{output} === 'packed socks\\npacked hat\\n'")
            each.until(f"{state} === 'completed'")

        page.script("document.getElementById('go').click()")
        other.until(f"{output} === 'packed socks\\n'")
        other.script("document.getElementById('stop').click()")
        for each in (page, other):
            each.until(f"{state} === 'cancelled'")
