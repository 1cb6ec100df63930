"""Wheel and sdist hold the package and nothing beside it, and get along with other people's modules.

PyPI's process manager is a package ``supervisor``, and applications have a ``store.py`` and an
``actors.py`` of their own: each is installed or lies beside trouper here, and all are used.

Building and installing needs a package index, as pip is set up to find it; hence ``network``.
"""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import attrs
import pytest

from tests.meta.source import ROOMS, ROOT, product

pytestmark = [pytest.mark.network, pytest.mark.slow]

CONSTRAINTS = ROOT / "constraints.txt"
SECONDS_AT_MOST = 300
"""For one build or one installation."""

SCRIPTS = Path("Scripts" if os.name == "nt" else "bin")

APPLICATION = {
    "store.py": "WHOSE = 'the application'\n",
    "actors.py": "WHOSE = 'the application'\n",
    "main.py": """
import actors
import store
import supervisor.supervisord
import trouper
import trouper.actors, trouper.simulation, trouper.store, trouper.supervisor, trouper.transport
from trouper.store.seams import Seams

assert store.WHOSE == actors.WHOSE == "the application"
assert supervisor.supervisord.__file__ != trouper.supervisor.__file__
assert trouper.store.__name__ == "trouper.store" and Seams.__module__ == "trouper.store.seams"
print("all work")
""",
}

# Every module of the room, so that what it loads only in use, or behind a door, is told from the rest.
LOADED_BY_ACTORS = """
import importlib, pkgutil, sys
import trouper.actors
for module in pkgutil.iter_modules(trouper.actors.__path__, "trouper.actors."):
    importlib.import_module(module.name)
print(*sorted({"sqlite3", "trio_websocket", "wsproto", "h11", "trouper.supervisor"} & set(sys.modules)))
"""
EVERY_MODULE = """
import importlib, sys
for name in sys.argv[1:]:
    importlib.import_module(name)
print(len(sys.argv) - 1)
"""


def run(*command: str | Path, cwd: Path, **environment: str) -> str:
    """Run to the end, within bounds, and give what was printed; a failure shows all of it."""
    done = subprocess.run(
        [str(part) for part in command],
        cwd=cwd,
        env={**os.environ, "PYTHONNOUSERSITE": "1", "PYTHONPATH": "", **environment},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=SECONDS_AT_MOST,
        check=False,
    )
    assert done.returncode == 0, f"{' '.join(map(str, command))}\n{done.stdout}"
    return done.stdout


@attrs.frozen
class Built:
    wheel: Path
    """Built from the working tree."""
    sdist: Path
    wheel_of_sdist: Path


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Built:
    """Both archives, and the wheel that somebody gets who builds from the sdist."""
    out = tmp_path_factory.mktemp("built")

    def build(source: Path, kind: str, to: str) -> Path:
        run(
            sys.executable, "-m", "build", kind, "--outdir", out / to, source,
            cwd=out, PIP_CONSTRAINT=str(CONSTRAINTS),
        )  # fmt: skip
        (archive,) = (out / to).iterdir()
        return archive

    sdist = build(ROOT, "--sdist", "sdist")
    unpacked = out / "unpacked"
    unpacked.mkdir()
    run(sys.executable, "-m", "tarfile", "-e", sdist, unpacked, cwd=out)
    (source,) = unpacked.iterdir()
    return Built(build(ROOT, "--wheel", "wheel"), sdist, build(source, "--wheel", "of_sdist"))


@pytest.fixture(scope="module", params=["wheel", "wheel_of_sdist"])
def environment(
    request: pytest.FixtureRequest, built: Built, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """The scripts of a fresh environment that holds one of the wheels and PyPI's ``supervisor``."""
    wheel: Path = getattr(built, request.param)
    home = tmp_path_factory.mktemp(request.param)
    run(sys.executable, "-m", "venv", home / "venv", cwd=home)
    python = home / "venv" / SCRIPTS / "python"
    wanted = (f"trouper[websocket] @ {wheel.as_uri()}", "supervisor")
    run(python, "-m", "pip", "install", "-q", "-c", CONSTRAINTS, *wanted, cwd=home)
    return python.parent


@pytest.fixture
def application(tmp_path: Path) -> Path:
    """A folder with an application that has modules named as rooms are."""
    for name, text in APPLICATION.items():
        (tmp_path / name).write_text(text, encoding="utf-8")
    return tmp_path


def contents(wheel: Path) -> set[str]:
    with zipfile.ZipFile(wheel) as archive:
        return {name for name in archive.namelist() if not name.split("/")[0].endswith(".dist-info")}


def test_both_wheels_hold_the_same_files_and_nothing_outside_the_package(built: Built) -> None:
    of_tree, of_sdist = contents(built.wheel), contents(built.wheel_of_sdist)
    assert of_tree == of_sdist
    assert {name.split("/")[0] for name in of_tree} == {"trouper"}


def test_the_wheel_holds_every_module_and_its_marker_for_types(built: Built) -> None:
    shipped = {
        name.removesuffix(".py").removesuffix("/__init__").replace("/", ".")
        for name in contents(built.wheel)
        if name.endswith(".py")
    }
    assert shipped == set(product())
    assert "trouper/py.typed" in contents(built.wheel)


def test_the_wheel_holds_nothing_that_a_machine_made(built: Built) -> None:
    made = ("__pycache__", ".pyc", "node_modules", ".db", ".cache")
    assert not [name for name in contents(built.wheel) if any(part in name for part in made)]


def test_an_application_with_modules_named_as_rooms_works(environment: Path, application: Path) -> None:
    assert run(environment / "python", "main.py", cwd=application) == "all work\n"


def test_the_process_manager_of_the_same_name_still_runs(environment: Path, application: Path) -> None:
    assert run(environment / "supervisord", "--version", cwd=application)[0].isdigit()


def test_the_rooms_have_no_bare_name_in_an_environment(environment: Path, tmp_path: Path) -> None:
    looked_up = "import importlib.util as u, sys; print([u.find_spec(n) for n in sys.argv[1:]])"
    others = [room for room in ROOMS if room != "supervisor"]
    assert run(environment / "python", "-c", looked_up, *others, cwd=tmp_path) == f"{[None] * len(others)}\n"


def test_every_module_of_the_wheel_can_be_imported(environment: Path, tmp_path: Path) -> None:
    # What the contract of stores is made of needs the extra ``test``; its door does not.
    left_out = ("trouper.__main__", "trouper.store.contract.")
    names = sorted(name for name in product() if not name.startswith(left_out))
    assert run(environment / "python", "-c", EVERY_MODULE, *names, cwd=tmp_path) == f"{len(names)}\n"


def test_actors_load_neither_a_database_nor_a_websocket(environment: Path, tmp_path: Path) -> None:
    assert run(environment / "python", "-c", LOADED_BY_ACTORS, cwd=tmp_path) == "\n"
