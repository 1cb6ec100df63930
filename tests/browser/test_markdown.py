"""What an output may make the page show: rendered in a real browser, by the page's own modules."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.browser import chromium
from tests.browser.chromium import Page
from tests.chat.server import chat_server

pytestmark = [pytest.mark.browser, pytest.mark.slow]


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    chromium.find()
    with chat_server(tmp_path_factory.mktemp("chat")) as server, chromium.browser() as browser:
        page = browser.tab()
        page.log_in(server.url, "ada")
        yield page


def rendered(page: Page, source: str) -> str:
    """The HTML that the page makes of Markdown."""
    html: str = page.script(
        "const [source] = arguments;"
        "return import('/markdown.js').then(({ rendered }) => {"
        "  const place = document.createElement('div');"
        "  place.append(rendered(source));"
        "  return place.innerHTML;"
        "});",
        source,
    )
    return html


@pytest.mark.clause("E1")
@pytest.mark.parametrize(
    "source",
    [
        '<div class="toasts"><div class="toast">You were logged out.</div></div>',
        '<span class="inbox opened">A panel that is none</span>',
        '<p data-testid="state" data-state="completed" data-thread="t1">A state that is none</p>',
        '<a href="https://here.test" class="language-x" data-job="j1">link</a>',
        '<pre class="language-html" id="composer" name="body">text</pre>',
        '<code class="toast">code</code>',
        '<code class="language-x toast">code</code>',
        '<b style="position:fixed" role="alert" aria-hidden="true" onclick="alert(1)">text</b>',
    ],
)
def test_an_output_cannot_dress_up_as_a_part_of_the_page(page: Page, source: str) -> None:
    html = rendered(page, source)
    for word in ("class=", "data-", "id=", "name=", "style=", "role=", "aria-", "onclick"):
        assert word not in html, html


def test_a_block_of_code_keeps_the_language_that_it_is_in(page: Page) -> None:
    assert '<code class="language-c++">' in rendered(page, "```c++\nint x;\n```\n")


def test_a_list_keeps_the_number_that_it_begins_with(page: Page) -> None:
    assert '<ol start="7">' in rendered(page, "7. seven\n8. eight\n")


def test_a_table_keeps_its_alignment_and_gets_its_frame(page: Page) -> None:
    html = rendered(page, "| a |\n|--:|\n| 1 |\n")
    assert html.startswith('<div class="table"><table>')
    assert '<td align="right">1</td>' in html


def test_an_address_that_no_conversation_can_have_says_so(page: Page) -> None:
    page.script("location.hash = '#/t/' + 'x'.repeat(300)")
    page.until("return !document.getElementById('problem').hidden")
    assert "legal are 1 to 200" in page.one("conversation-problem").text
    assert page.script("return document.getElementById('loading').hidden")
    page.script("location.hash = '#/'")
    page.until("return document.getElementById('problem').hidden")
