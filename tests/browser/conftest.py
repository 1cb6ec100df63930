"""What the chat's other tests have, for those in a browser."""

from __future__ import annotations

from tests.chat.conftest import small_python as small_python
