"""What a report has still to do and how: the state that it saves, and what people may change of it.

``told`` takes a sentence of a person's and changes what is still to be done. No ``await``.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import attrs

from examples.chat.jobs.tally import Tally

SAID_CHARS = 500
"""Characters of a message that are read."""
HELP = "I understand: shorter, in full, skip NAME, NAME next, enough"

Packages = list[tuple[str, str]]
"""(name, version) of each."""


def comparable(name: str) -> str:
    """The name of a distribution as requirements are compared."""
    return re.sub(r"[-_.]+", "-", name).lower()


@attrs.define
class Work:
    """One report: what is to be done, what has been."""

    packages: Packages
    """All that are installed, as the first attempt found them."""
    todo: Packages
    """Those that are still to be audited, the next one first."""
    tally: Tally = attrs.Factory(Tally)
    written: int = 0
    """UTF-8 bytes of the text so far."""
    chosen: bool = False
    """Whether ``todo`` is what a person chose."""
    brief: bool = False
    """Without importing anything, which is what takes long."""
    summary: bool = True

    @property
    def whole(self) -> int:
        """Packages of this report, done or to do."""
        return self.tally.done + len(self.todo)

    def told(self, said: str) -> str:
        """Do what a person says, as far as it is understood; the reply."""
        words = said.lower()
        if match := re.search(r"\bskip\s+(.+)", said, re.IGNORECASE):
            return self._skip(match[1])
        if match := re.search(r"(\S+)\s+(?:next|first)\b", said, re.IGNORECASE):
            return self._next(match[1])
        if re.search(r"\b(enough|finish|sum up|stop)\b", words):
            left, self.todo = len(self.todo), []
            return f"left out the {left} that were still to come" if left else "that was the last one anyway"
        if re.search(r"\b(short|shorter|brief|briefly|quick|quicker|faster)\b", words):
            self.brief = True
            return "from here on without import times"
        if re.search(r"\b(long|longer|full|fully|details?)\b", words):
            self.brief = False
            return "from here on with import times"
        return HELP

    def _skip(self, names: str) -> str:
        unwanted = {comparable(name) for name in re.findall(r"[\w.-]*\w", names)}
        skipped = [name for name, _ in self.todo if comparable(name) in unwanted]
        self.todo = [each for each in self.todo if each[0] not in skipped]
        return f"left out {', '.join(skipped)}" if skipped else "none of these is still to come"

    def _next(self, name: str) -> str:
        wanted = comparable(name)
        found = [each for each in self.todo if comparable(each[0]) == wanted]
        if not found:
            return f"{name} is not among those still to come"
        self.todo = [*found, *(each for each in self.todo if each not in found)]
        return f"{found[0][0]} is next"


def said_in(data: Any) -> str:
    """The sentence in a message, which may be any JSON; empty if it has none."""
    text = data.get("text") if isinstance(data, dict) else data
    return " ".join(text.split())[:SAID_CHARS] if isinstance(text, str) else ""


def named(packages: Sequence[tuple[str, str]], part: str) -> Packages:
    """Those whose name holds ``part``."""
    wanted = comparable(part.strip())
    return [each for each in packages if wanted in comparable(each[0])]
