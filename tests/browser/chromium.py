"""A real Chromium for tests: Debian's or the user's own, driven by its chromedriver."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from typing import Any

import pytest
from selenium import webdriver
from selenium.common.exceptions import WebDriverException as WebDriverException
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By
from selenium.webdriver.remote.webelement import WebElement
from selenium.webdriver.support.ui import WebDriverWait

_BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
_HOW = (
    "no Chromium with its chromedriver was found: install them (Debian and Ubuntu: "
    "apt-get install chromium chromium-driver) or name them in CHROMIUM and CHROMEDRIVER"
)
_ARGUMENTS = (
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",
)


def find() -> tuple[str, str]:
    """(browser, driver). Skips the test where there is none; fails it where one is required."""
    browser = os.environ.get("CHROMIUM") or next(filter(None, map(shutil.which, _BROWSERS)), None)
    driver = os.environ.get("CHROMEDRIVER") or shutil.which("chromedriver")
    if browser is not None and driver is not None:
        return browser, driver
    if os.environ.get("TROUPER_REQUIRE_BROWSER") == "1":
        pytest.fail(_HOW)
    pytest.skip(_HOW)


class Page:
    """One window of one browser on the chat, as a person uses it."""

    def __init__(self, driver: webdriver.Chrome, handle: str) -> None:
        self.driver = driver
        self.handle = handle

    def _here(self) -> webdriver.Chrome:
        self.driver.switch_to.window(self.handle)
        return self.driver

    def open(self, url: str) -> None:
        """Load, and wait until the page says that it is ready."""
        self._here().get(url)
        self.until("return document.documentElement.dataset.ready === 'true'")

    def close(self) -> None:
        """Close the tab."""
        self._here().close()

    def script(self, source: str, *arguments: Any) -> Any:
        return self._here().execute_script(source, *arguments)

    def until(self, source: str, *arguments: Any, timeout_s: float = 30.0) -> Any:
        """Wait until a script gives something true; what it gave."""
        self._here()
        wait = WebDriverWait(self.driver, timeout_s, poll_frequency=0.1)
        return wait.until(lambda d: d.execute_script(source, *arguments), f"never true: {source}")

    def all(self, testid: str, suffix: str = "") -> list[WebElement]:
        return self._here().find_elements(By.CSS_SELECTOR, f'[data-testid="{testid}"]{suffix}')

    def one(self, testid: str, suffix: str = "") -> WebElement:
        return self._here().find_element(By.CSS_SELECTOR, f'[data-testid="{testid}"]{suffix}')

    def click(self, testid: str, suffix: str = "") -> None:
        selector = f'[data-testid="{testid}"]{suffix}'
        self.until("return !!document.querySelector(arguments[0])", selector)
        self.one(testid, suffix).click()

    # --- the chat ---

    def log_in(self, url: str, name: str) -> None:
        """Type a name at the first visit."""
        self._here().get(url)
        self.until("return !!document.querySelector('[data-testid=name]')")
        self.one("name").send_keys(name)
        self.click("login")
        self.until("return document.documentElement.dataset.ready === 'true'")

    def start(self, job: str, text: str = "") -> str:
        """Pick a job in a new conversation, send it; the job's id."""
        self.click("new-conversation")
        self.until("return !document.getElementById('welcome').hidden")
        self.send(job, text)
        job_id: str = self.until(
            "const o = document.querySelector('[data-testid=message] [data-testid=output][data-job]');"
            "return o && o.dataset.job"
        )
        return job_id

    def send(self, job: str, text: str = "") -> None:
        """Pick a job in the conversation that is open, and send it."""
        self.script(
            "const p = document.querySelector('[data-testid=job-picker]');"
            "p.value = arguments[0]; p.dispatchEvent(new Event('change', {bubbles: true}));",
            job,
        )
        if text:
            self.one("composer").send_keys(text)
        self.click("send")

    def state(self, job_id: str) -> str:
        """What the page says of a job."""
        state: str = self.script(
            "const row = trouperChat.chat.rows.get(arguments[0]); return row ? row.state : ''", job_id
        )
        return state

    def until_state(self, job_id: str, *states: str, timeout_s: float = 30.0) -> str:
        state: str = self.until(
            "const row = trouperChat.chat.rows.get(arguments[0]);"
            "return row && arguments[1].includes(row.state) && row.state",
            job_id,
            list(states),
            timeout_s=timeout_s,
        )
        return state

    def output(self, job_id: str) -> dict[str, Any]:
        """What the page holds of an output: status, attempt, entries, rewinds, verified …"""
        held: dict[str, Any] = self.script("return trouperChat.output(arguments[0])", job_id)
        return held

    def output_hash(self, job_id: str) -> str:
        """SHA-256 of the text that the page holds."""
        text_hash: str = self.script("return trouperChat.outputHash(arguments[0])", job_id)
        return text_hash

    def until_output(self, job_id: str, condition: str, timeout_s: float = 60.0) -> None:
        """Wait until ``condition`` of what the page holds (``o``) is true."""
        self.until(
            f"const o = trouperChat.output(arguments[0]); return !!o && ({condition})",
            job_id,
            timeout_s=timeout_s,
        )

    def counts(self) -> tuple[int, int]:
        """(unseen, unread), as the page has them."""
        counts = self.script("return trouperChat.client.getSnapshot().counts")
        return counts["unseen"], counts["unread"]

    def bell(self) -> str:
        """The number on the bell."""
        return self.one("count").text

    def screenshot(self, path: str) -> None:
        self._here().save_screenshot(path)


class Browser:
    """A browser with a profile of its own: its own cookies."""

    def __init__(self, driver: webdriver.Chrome) -> None:
        self.driver = driver

    def first(self) -> Page:
        return Page(self.driver, self.driver.window_handles[0])

    def tab(self) -> Page:
        """A new tab."""
        self.driver.switch_to.new_window("tab")
        return Page(self.driver, self.driver.current_window_handle)

    def network(self) -> list[tuple[str, dict[str, Any]]]:
        """(event, parameters) of the DevTools network log since the last call."""
        events = (json.loads(entry["message"])["message"] for entry in self.driver.get_log("performance"))  # type: ignore[no-untyped-call]
        return [(e["method"], e["params"]) for e in events if e["method"].startswith("Network.")]


@contextlib.contextmanager
def browser(width: int = 1280, height: int = 800) -> Iterator[Browser]:
    """A browser with an empty profile; it is gone at the end."""
    binary, driver_path = find()
    with tempfile.TemporaryDirectory(prefix="trouper-chromium-") as profile:
        options = webdriver.ChromeOptions()
        options.binary_location = binary
        for argument in (*_ARGUMENTS, f"--user-data-dir={profile}", f"--window-size={width},{height}"):
            options.add_argument(argument)
        options.set_capability("goog:loggingPrefs", {"performance": "ALL", "browser": "ALL"})
        driver = webdriver.Chrome(options=options, service=Service(driver_path))
        try:
            yield Browser(driver)
        finally:
            driver.quit()
