"""What the numbers were taken on: enough to compare runs, nothing that names the machine."""

from __future__ import annotations

import os
import platform
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

CPUINFO = Path("/proc/cpuinfo")


def pin_to_one_core() -> bool:
    """Stay on one core, where the system allows it: a loop that wanders measures the scheduler too."""
    if not hasattr(os, "sched_setaffinity"):
        return False
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    return True


def facts(packages: Sequence[str], *, pinned: bool) -> dict[str, Any]:
    """The machine, the interpreter, the versions."""
    return {
        "system": f"{platform.system()} {platform.machine()}",
        "processor": _processor(),
        "cores": os.cpu_count(),
        "pinned_to_one_core": pinned,
        "load_before": round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else None,
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        "versions": {name: version for name in packages if (version := _version(name)) is not None},
    }


def _processor() -> str | None:
    if not CPUINFO.exists():
        return platform.processor() or None
    lines = CPUINFO.read_text(encoding="utf-8", errors="replace").splitlines()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), None)


def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None
