"""The README's own example, run as it stands there."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from trio.testing import MockClock

import trouper.testing

README = Path(__file__).resolve().parents[2] / "README.md"


@pytest.mark.clause("J5")
async def test_the_job_of_the_readme_goes_on_after_a_crash(autojump_clock: MockClock) -> None:
    blocks = re.findall(r"```python\n(.*?)```", README.read_text(encoding="utf-8"), re.DOTALL)
    assert len(blocks) == 2
    names: dict[str, Any] = {}
    exec(blocks[0].replace("trio.run(main)", ""), names)
    names["trouper"] = trouper
    exec(blocks[1].replace("import trouper.testing", ""), names)
    test = names["test_counting_goes_on_after_a_crash"]
    await test()
