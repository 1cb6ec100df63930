"""node's ``ws`` and socket.io: packages of theirs, in a cache folder of the user's, never in the project."""

from __future__ import annotations

import functools
import json
import os
import shutil
import subprocess
from pathlib import Path

PACKAGES = {"ws": "8", "socket.io": "4"}
"""Name → the major version that is installed."""


def folder() -> Path:
    """Where the packages are, or will be."""
    cache = os.environ.get("XDG_CACHE_HOME")
    return (Path(cache) if cache else Path.home() / ".cache") / "trouper-benchmarks" / "node"


@functools.cache
def available(package: str) -> bool:
    """Whether node is there, and the package in the cache folder."""
    return shutil.which("node") is not None and (folder() / "node_modules" / package).is_dir()


def install(timeout_s: float = 120.0) -> str | None:
    """Put the packages there, unless they are. Why that did not work, or None."""
    if shutil.which("node") is None or shutil.which("npm") is None:
        return "node and npm are not there: their rows are left out"
    if all(map(available, PACKAGES)):
        return None
    folder().mkdir(parents=True, exist_ok=True)
    wanted = [f"{name}@{version}" for name, version in PACKAGES.items()]
    command = ["npm", "install", "--no-package-lock", "--no-audit", "--no-fund", "--ignore-scripts"]
    try:
        subprocess.run(
            [*command, "--prefix", str(folder()), *wanted],
            check=True,
            capture_output=True,
            text=True,
            timeout=timeout_s,
        )
    except (subprocess.SubprocessError, OSError) as error:
        return f"npm could not install {', '.join(wanted)} ({type(error).__name__}): their rows are left out"
    finally:
        available.cache_clear()
    return None


def node_version() -> str | None:
    """The version of node itself."""
    if shutil.which("node") is None:
        return None
    done = subprocess.run(["node", "--version"], capture_output=True, text=True, check=True, timeout=10)
    return done.stdout.strip().removeprefix("v")


def version(package: str) -> str | None:
    """The version that is installed."""
    try:
        text = (folder() / "node_modules" / package / "package.json").read_text(encoding="utf-8")
    except OSError:
        return None
    return str(json.loads(text)["version"])
