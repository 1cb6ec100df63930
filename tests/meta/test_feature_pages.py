"""The pages of features: every row of their tables has tests, and every test that they name exists."""

from __future__ import annotations

import re

import attrs
import pytest

from tests.meta.source import ROOT
from tests.meta.test_house import names_of_tests


@attrs.frozen
class FeaturePage:
    file: str
    features: int
    without: frozenset[str]
    """What stands in the column ``here`` of a feature that there is not."""

    @property
    def text(self) -> str:
        return (ROOT / "docs" / self.file).read_text(encoding="utf-8")

    @property
    def rows(self) -> list[tuple[str, ...]]:
        """(number, feature, here, tests) of each feature."""
        return re.findall(r"^\| (\d+) \|([^|]*)\|([^|]*)\|([^|]*)\|$", self.text, flags=re.MULTILINE)


PAGES = [
    FeaturePage("supervision.md", 50, frozenset({"not here", "not needed on one thread"})),
    FeaturePage("delivery.md", 32, frozenset({"not here"})),
]
each_page = pytest.mark.parametrize("page", PAGES, ids=lambda page: page.file)


@each_page
def test_every_test_that_the_page_names_exists(page: FeaturePage) -> None:
    named = set(re.findall(r"`(test_\w+)`", page.text))
    assert len(named) > page.features
    assert not named - set(names_of_tests())


@each_page
def test_every_feature_has_a_row_and_each_that_is_here_has_a_test(page: FeaturePage) -> None:
    assert [int(number) for number, *_ in page.rows] == list(range(1, page.features + 1))
    untested = [
        number
        for number, _, here, tests in page.rows
        if (here.strip() in page.without) == bool(re.search(r"`test_\w+`", tests))
    ]
    assert not untested


@each_page
def test_what_went_wrong_elsewhere_has_tests_here(page: FeaturePage) -> None:
    tables = re.findall(r"^\| where \|.*?\n\n", page.text + "\n\n", flags=re.MULTILINE | re.DOTALL)
    rows = [row for table in tables for row in table.strip().splitlines()[2:]]
    assert len(rows) > 10
    assert not [row for row in rows if not re.search(r"`test_\w+`", row)]


@each_page
def test_every_link_of_the_page_leads_to_a_file(page: FeaturePage) -> None:
    links = re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", page.text)
    assert links
    assert not [link for link in links if not (ROOT / "docs" / link).exists()]
