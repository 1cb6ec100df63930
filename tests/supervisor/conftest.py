"""Fixtures of the supervisor's tests."""

from __future__ import annotations

import pytest

from tests.supervisor.support import Open, opener


@pytest.fixture
def opened() -> Open:
    """Opens a runtime on the memory store."""
    return opener()
