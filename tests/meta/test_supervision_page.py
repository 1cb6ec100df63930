"""docs/supervision.md: every row of its tables has tests, and every test that it names exists."""

from __future__ import annotations

import re

from tests.meta.source import ROOT
from tests.meta.test_house import names_of_tests

PAGE = (ROOT / "docs" / "supervision.md").read_text(encoding="utf-8")
FEATURES = re.findall(r"^\| (\d+) \|([^|]*)\|([^|]*)\|([^|]*)\|$", PAGE, flags=re.MULTILINE)
WITHOUT = {"not here", "not needed on one thread"}


def test_every_test_that_the_page_names_exists() -> None:
    named = set(re.findall(r"`(test_\w+)`", PAGE))
    assert len(named) > 60
    assert not named - set(names_of_tests())


def test_all_fifty_features_have_a_row_and_each_that_is_here_has_a_test() -> None:
    assert [int(number) for number, *_ in FEATURES] == list(range(1, 51))
    untested = [
        number
        for number, _, here, tests in FEATURES
        if (here.strip() in WITHOUT) == bool(re.search(r"`test_\w+`", tests))
    ]
    assert not untested


def test_every_link_of_the_page_leads_to_a_file() -> None:
    links = re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", PAGE)
    assert links
    assert not [link for link in links if not (ROOT / "docs" / link).exists()]
