"""A Python of its own with few packages, so that the jobs that look at all of them are done in a second."""

from __future__ import annotations

import sys
import sysconfig
import venv
from importlib import metadata
from pathlib import Path

import pytest

PACKAGES = ("attrs", "outcome", "trio")
"""What is installed there, as far as metadata tells: the chat's jobs list, audit and index these.
(trio-websocket asks for trio's version.)"""


@pytest.fixture(scope="session")
def small_python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Everything that this environment has can be imported; ``PACKAGES`` are all that is known of."""
    folder = tmp_path_factory.mktemp("environment")
    venv.EnvBuilder(symlinks=True, with_pip=False).create(folder)
    scheme = {"base": str(folder), "platbase": str(folder)}
    known = {Path(str(metadata.distribution(name).locate_file(""))) / _info(name) for name in PACKAGES}
    for kind in ("purelib", "platlib"):
        site = Path(sysconfig.get_path(kind, vars=scheme))
        site.mkdir(parents=True, exist_ok=True)
        for entry in Path(sysconfig.get_path(kind)).iterdir():
            hidden = entry.suffix in (".dist-info", ".egg-info", ".egg-link", ".pth")
            if (entry in known or not hidden) and not (site / entry.name).exists():
                (site / entry.name).symlink_to(entry)
    return folder / ("Scripts" if sys.platform == "win32" else "bin") / "python"


def _info(name: str) -> str:
    """The name of the folder with a distribution's metadata."""
    for file in metadata.files(name) or ():
        if file.name == "METADATA":
            return file.parts[0]
    raise LookupError(f"{name} is not installed as a wheel is")
