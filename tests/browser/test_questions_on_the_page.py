"""A job that asks, and one that is told something, in a real browser: tabs, kills, time-outs, fields."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from tests.browser import chromium
from tests.browser.chromium import Browser, Page
from tests.chat.server import ChatServer, chat_server

pytestmark = [pytest.mark.browser, pytest.mark.slow]

OPEN = "return !!document.querySelector('[data-testid=question]:not([hidden])')"
GONE = "return !document.querySelector('[data-testid=question]:not([hidden])')"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, small_python: Path) -> Iterator[ChatServer]:
    """Three packages are known there: a review is done in seconds."""
    chromium.find()
    with chat_server(tmp_path_factory.mktemp("chat"), python=small_python) as running:
        yield running


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    chromium.find()
    with chromium.browser() as running:
        yield running


def enter(page: Page, server: ChatServer, name: str) -> None:
    """As somebody who was never here."""
    page.script("")
    page.driver.delete_all_cookies()
    page.log_in(server.url, name)


def asked(page: Page) -> str:
    """The id of a job that was started there and shows its question."""
    job = page.start("review")
    page.until(OPEN)
    return job


def field(page: Page, name: str) -> Any:
    return page.one("field", f'[data-name="{name}"] input')


def typed(page: Page, name: str, text: str) -> None:
    field(page, name).clear()
    field(page, name).send_keys(text)


def focused(page: Page) -> str:
    """The field that has the focus."""
    name: str = page.script(
        "return document.activeElement.closest('[data-testid=field]')?.dataset.name ?? ''"
    )
    return name


def outcome(page: Page) -> str:
    """What the page says of the question, once it says something."""
    said: str = page.until("return document.querySelector('[data-testid=outcome]')?.textContent")
    return said


def until_outcome(page: Page, begin: str) -> None:
    page.until(
        "return document.querySelector('[data-testid=outcome]')?.textContent.startsWith(arguments[0])", begin
    )


@pytest.mark.clause("J8", "J6", "N1", "N2")
def test_a_question_is_answered_in_one_tab_and_gone_in_all_over_two_kills(
    server: ChatServer, browser: Browser
) -> None:
    first = browser.first()
    enter(first, server, "ada")
    job = asked(first)
    thread = first.script("return location.hash")
    assert focused(first) == "", "nobody asked for the focus to be moved"
    assert "asks: Which packages" in first.script("return document.getElementById('announce').textContent")
    assert first.one("state").text == "waiting for your answer"
    assert first.one("left").text.endswith("min left.")
    second = browser.tab()
    second.open(server.url + "/" + thread)
    second.until(OPEN)
    typed(second, "name", "my own words")

    typed(first, "name", "o")
    typed(first, "most", "500")
    first.click("answer")
    first.until("return !!document.querySelector('[data-testid=fault]:not([hidden])')")
    assert first.one("field", '[data-name="most"] [data-testid=fault]').text == (
        "This is 500; legal are numbers from 1 up to 3"
    )
    assert focused(first) == "most"
    assert field(first, "most").get_attribute("aria-invalid") == "true"
    assert field(first, "name").get_attribute("value") == "o"

    server.kill()
    first.until("return trouperChat.client.state !== 'open'")
    server.start()
    assert server.rows("SELECT state, reason FROM jobs WHERE id = ?", job) == [("queued", "question")]
    late = browser.tab()
    late.open(server.url + "/" + thread)
    late.until(OPEN)
    for page in (first, second):
        page.until("return trouperChat.client.state === 'open'")
        assert page.script(OPEN)
    assert field(first, "name").get_attribute("value") == "o"
    assert field(second, "name").get_attribute("value") == "my own words"

    typed(first, "most", "1\n")  # by the keyboard alone
    for page in (first, second, late):
        page.until(GONE)
    server.kill()
    server.start()
    assert outcome(first).startswith("You answered: Only those whose name holds: o · At most: 1 · How")
    until_outcome(second, "Answered elsewhere: Only those whose name holds: o · At most: 1")
    until_outcome(late, "Answered elsewhere: ")
    for page in (first, second, late):
        assert page.until_state(job, "completed") == "completed"
        page.until_output(job, "o.status === 'ended'")
        assert page.output(job)["verified"] is True
    assert first.output_hash(job) == late.output_hash(job)
    text = first.script("return trouperChat.outputText(arguments[0])", job)
    assert text.count("As chosen: 1 package, of 2 whose name holds `o`.") == 1
    kinds = server.rows("SELECT kind FROM notifications WHERE job = ? ORDER BY kind", job)
    assert kinds == [("ended",), ("question",)]
    for page in (second, late):
        page.close()


@pytest.mark.clause("J8")
def test_a_question_that_was_stopped_or_not_answered_in_time_says_so(
    server: ChatServer, browser: Browser
) -> None:
    page = browser.first()
    enter(page, server, "bea")
    stopped = asked(page)
    page.click("stop")
    until_outcome(page, "Stopped before there was an answer.")
    assert page.until_state(stopped, "cancelled") == "cancelled"
    assert page.script(GONE)

    job = asked(page)
    typed(page, "most", "2")
    page.script("location.hash = '#/'")  # a look elsewhere costs nothing
    page.until("return !document.getElementById('welcome').hidden")
    assert "waiting for your answer" in str(page.one("thread").get_attribute("textContent"))
    page.script("history.back()")
    page.until(OPEN)
    assert field(page, "most").get_attribute("value") == "2"
    server.kill()
    with closing(sqlite3.connect(server.database)) as database, database:
        database.execute("UPDATE jobs SET run_at = 1 WHERE id = ?", (job,))  # its time was over long ago
    server.start()
    until_outcome(page, "No answer came in time: it went on without one.")
    page.until_state(job, "completed")
    page.until_output(job, "o.status === 'ended'")
    assert "Nobody chose in time: all of 3 packages, in brief." in page.script(
        "return trouperChat.outputText(arguments[0])", job
    )
    assert "interruption" not in page.one("message", f'[data-job="{job}"] footer').text


@pytest.mark.clause("J7")
def test_what_a_report_is_told_is_accepted_then_read_and_seen_in_both_tabs(
    server: ChatServer, browser: Browser
) -> None:
    page = browser.first()
    enter(page, server, "cleo")
    job = page.start("report")
    other = browser.tab()
    other.open(server.url + "/" + page.script("return location.hash"))
    page.until_output(job, "o.entries > 1")
    page.one("tell").send_keys("skip trio\n")
    page.until("return document.querySelector('[data-testid=said]')?.dataset.status === 'accepted'")
    page.click("suggestion")  # "Shorter, please"
    for each in (page, other):
        each.until("return document.querySelectorAll('[data-testid=said][data-status=heard]').length === 2")
        notes = [said.text for said in each.all("said")]
        assert notes == [
            "skip trio\nread: left out trio",
            "Shorter, please\nread: from here on without import times",
        ]
        each.until_state(job, "completed")
    text = page.script("return trouperChat.outputText(arguments[0])", job)
    assert "## trio" not in text
    assert "> **cleo**: skip trio\n>\n> *left out trio*" in text
    assert page.one("tell").is_displayed() is False
    other.close()


@pytest.mark.clause("J7")
def test_a_message_that_waits_is_shown_after_a_reload_in_every_tab_and_over_a_kill_until_it_is_read(
    server: ChatServer, browser: Browser
) -> None:
    page = browser.first()
    enter(page, server, "gus")
    job = asked(page)
    other = browser.tab()
    other.open(server.url + "/" + page.script("return location.hash"))
    other.until(OPEN)
    # It reads nothing while it asks, so what it is told waits.
    page.script("return trouperChat.client.signal(arguments[0], { text: 'skip trio' })", job)
    waits = "return document.querySelector('[data-testid=said]')?.dataset.status === 'accepted'"
    for each in (page, other):
        each.until(waits)
        assert each.one("said").text == "skip trio\nwaits to be read before the next part"
    page.driver.refresh()
    page.until(waits)
    server.kill()
    server.start()
    other.driver.refresh()
    for each in (page, other):
        each.until("return window.trouperChat?.client.state === 'open'")
        each.until(waits)
    page.click("answer")
    for each in (page, other):
        each.until("return document.querySelector('[data-testid=said]')?.dataset.status === 'heard'")
        each.until_state(job, "completed")
        assert len(each.all("said")) == 1
    other.close()


@pytest.mark.clause("J8", "N3")
def test_a_device_whose_clock_is_wrong_shows_the_right_time_left(
    server: ChatServer, browser: Browser
) -> None:
    enter(browser.first(), server, "hal")
    page = browser.tab()
    ahead = "Date.now = ((now) => () => now() + 3600e3)(Date.now)"
    page.driver.execute_cdp_cmd("Page.addScriptToEvaluateOnNewDocument", {"source": ahead})
    page.open(server.url)
    job = asked(page)
    assert page.script("return Date.now() / 1000 - trouperChat.client.serverTime()") > 3500
    assert page.one("left").text == "It waits for your answer: 15 min left."
    page.click("stop")
    page.until_state(job, "cancelled")
    page.close()


ASKS = """
const [schema, answers] = arguments;
return Promise.all([import('/question.js'), import('/talk.js')]).then(([{ QuestionView }, { Talk }]) => {
  const given = window.given = [];
  const talk = new Talk({ answer: async (job, key, value) => {
    given.push(value);
    const answer = answers.shift();
    if (answer.startsWith('the ')) throw new Error(answer);
    return { answer };
  }, serverTime: () => 0 }, () => 'k', () => view.update(row, []));
  const asking = { key: 'q', question: 'Which?', schema, expires_at: null };
  const row = { id: 'j', state: 'queued', ended_at: null, asking };
  const view = new QuestionView(talk, 'j');
  view.update(row, []);
  document.getElementById('made')?.remove();
  const made = document.createElement('div');
  made.id = 'made';
  made.append(view.settled, view.box);
  document.querySelector('.scroll').prepend(made);
});
"""


TEXT = "m.querySelector('textarea').value = "
PRESS = "m.querySelectorAll('[data-testid=option]')[1].click()"
TICK = "m.querySelectorAll('input')[1].click()"


@pytest.mark.parametrize(
    ("schema", "fill", "value"),
    [
        ({"enum": ["early", "late"]}, PRESS, "late"),
        ({"type": "boolean"}, PRESS, False),
        ({"enum": list(range(9))}, "m.querySelector('select').value = '8'", 8),
        ({"type": "string", "maxLength": 999}, TEXT + r"'a\nb'", "a\nb"),
        ({"type": "array", "items": {"enum": ["a", "b"]}}, TICK, ["b"]),
        ({"type": "array", "items": {"type": "string"}}, TEXT + r"'a\nb'", ["a", "b"]),
        ({"type": "object"}, TEXT + """'{"a": 1}'""", {"a": 1}),
    ],
)
def test_each_kind_of_question_has_controls_with_names_and_gives_its_value(
    server: ChatServer, browser: Browser, schema: dict[str, Any], fill: str, value: Any
) -> None:
    page = browser.first()
    if not page.script("return !!window.trouperChat"):
        enter(page, server, "dora")
    page.script(ASKS, schema, ["the answer is odd", "accepted"])
    unnamed = page.script(
        "return [...document.querySelectorAll('#made :is(input, select, textarea)')]"
        ".filter((each) => !each.labels.length).length"
    )
    assert unnamed == 0
    answer = "m.querySelector('[data-testid=answer]')?.click()"
    page.script(f"const m = document.getElementById('made'); {fill}; {answer}")
    page.until("return document.querySelector('#made :is(.fault, .problem):not([hidden])')?.textContent")
    page.script(f"const m = document.getElementById('made'); {fill if fill == PRESS else ''}; {answer}")
    page.until("return document.querySelector('#made [data-testid=outcome]')?.textContent")
    assert page.script("return window.given") == [value, value]
