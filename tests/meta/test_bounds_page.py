"""The page of bounds: every option that is a number stands there, with its default, and nothing else does."""

from __future__ import annotations

import re

import attrs
import pytest

from tests.meta.source import ROOT
from trouper.actors.options import ChannelLimits, JobLimits
from trouper.store.options import StoreOptions
from trouper.supervisor.options import RuntimeOptions
from trouper.transport.client_options import ClientOptions
from trouper.transport.options import GatewayOptions

CLASSES = (RuntimeOptions, JobLimits, ChannelLimits, StoreOptions, GatewayOptions, ClientOptions)


@pytest.mark.clause("E2")
@pytest.mark.parametrize("options", CLASSES)
def test_the_page_of_bounds_has_every_option_with_its_default(options: type[attrs.AttrsInstance]) -> None:
    page = (ROOT / "docs" / "bounds.md").read_text(encoding="utf-8")
    section = re.search(rf"^## {options.__name__}$(.*?)(?=^## )", page, flags=re.MULTILINE | re.DOTALL)
    assert section is not None
    rows = re.findall(r"^\| `(\w+)` \| ([^|]+) \| [^|]{5,} \|$", section[1], flags=re.MULTILINE)
    told = {name: float(default.replace("_", "")) for name, default in rows}
    numbers = {
        field.name: float(field.default)
        for field in attrs.fields(options)
        if isinstance(field.default, int | float) and not isinstance(field.default, bool)
    }
    assert told == numbers
    assert len(rows) == len(told)
