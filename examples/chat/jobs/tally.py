"""What the report adds up. Its size does not grow with the number of packages: it is saved with each one."""

from __future__ import annotations

from typing import Any

import attrs

from examples.chat.jobs.audits import Audit
from examples.chat.jobs.surveyor import ImportTime

KEPT = 8
"""Lines of each list of extremes, and names of each list of failures."""
ENOUGH_NAMES = 20
"""Public names from which on a share of undocumented ones says something."""


@attrs.define
class Tally:
    """Running totals over the packages done."""

    done: int = 0
    seconds: float = 0.0
    bytes: int = 0
    files: int = 0
    public: int = 0
    undocumented: int = 0
    modules: int = 0
    """Imported without failure."""
    broken: int = 0
    broken_names: list[str] = attrs.Factory(list)
    failed: int = 0
    failed_names: list[str] = attrs.Factory(list)
    unlicensed: int = 0
    unlicensed_names: list[str] = attrs.Factory(list)
    slowest: list[tuple[str, float]] = attrs.Factory(list)
    """(module, seconds), slowest first."""
    largest: list[tuple[str, int]] = attrs.Factory(list)
    """(package, bytes), largest first."""
    barest: list[tuple[str, int, int]] = attrs.Factory(list)
    """(package, undocumented, public), the largest share first."""

    def audited(self, name: str, audit: Audit) -> None:
        package, public = audit.package, sum(audit.public.values())
        self.bytes += package.bytes
        self.files += package.files
        self.public += public
        self.undocumented += audit.undocumented
        if not package.licence:
            self.unlicensed += 1
            self.unlicensed_names = [*self.unlicensed_names, name][:KEPT]
        self.largest = sorted([*self.largest, (name, package.bytes)], key=lambda each: -each[1])[:KEPT]
        if public >= ENOUGH_NAMES and audit.undocumented:
            barest = [*self.barest, (name, audit.undocumented, public)]
            self.barest = sorted(barest, key=lambda each: -each[1] / each[2])[:KEPT]

    def imported(self, time: ImportTime) -> None:
        self.modules += 1
        slowest = [*self.slowest, (time.module, time.median_s)]
        self.slowest = sorted(slowest, key=lambda each: -each[1])[:KEPT]

    def import_failed(self, module: str) -> None:
        self.failed += 1
        self.failed_names = [*self.failed_names, module][:KEPT]

    def broke(self, name: str) -> None:
        self.broken += 1
        self.broken_names = [*self.broken_names, name][:KEPT]

    def result(self) -> dict[str, Any]:
        """What the job returns."""
        return {
            "packages": self.done,
            "bytes": self.bytes,
            "public": self.public,
            "undocumented": self.undocumented,
            "imported": self.modules,
            "failed_imports": self.failed,
            "unlicensed": self.unlicensed,
            "broken": self.broken,
        }
