"""Reading a package without running it: what is public, under which name, with which docstring."""

from __future__ import annotations

import textwrap
from pathlib import Path

import pytest

from examples.chat.jobs import sources
from examples.chat.jobs.interface import Interface, Place


def places(folder: Path, **modules: str) -> dict[str, Place]:
    """The public places of package ``lib``; ``a__b`` is the module ``lib.a.b``, ``init`` its ``__init__``."""
    read = {}
    for name, text in modules.items():
        path = folder / ("__init__.py" if name == "init" else f"{name}.py")
        path.write_text(textwrap.dedent(text))
        module = "lib" if name == "init" else "lib." + name.replace("__", ".")
        read[module] = sources.read(module, f"lib/{path.name}", path)
    return {place.name: place for place in Interface("lib", read).places()}


def test_a_re_export_is_known_by_the_name_that_users_write(tmp_path: Path) -> None:
    found = places(
        tmp_path,
        init="from ._core import Thing as Thing, make as build\nfrom ._core import hidden\n",
        _core='''
            class Thing:
                """A thing."""
                def __init__(self, size: int, *, colour="red"): "Made of clay."
                async def turn(self, by): "Turn it."
                @property
                def weight(self) -> float: ...
                def _secret(self): ...
            def make(): "Make one."
            def hidden(): ...
        ''',
    )
    assert sorted(found) == ["lib", "lib.Thing", "lib.Thing.turn", "lib.Thing.weight", "lib.build"]
    thing = found["lib.Thing"]
    assert (thing.kind, thing.file, thing.line) == ("class", "lib/_core.py", 2)
    assert thing.signature == "class Thing(size: int, *, colour='red')"
    assert thing.doc == "A thing.\n\nMade of clay."
    assert found["lib.build"].signature == "build()"
    assert found["lib.Thing.turn"].signature == "async turn(by)"
    assert found["lib.Thing.weight"].signature == "weight -> float"


def test_one_thing_with_two_names_is_told_once_by_the_shortest(tmp_path: Path) -> None:
    found = places(
        tmp_path,
        init="from lib.parts import *\n",
        parts="__all__ = ['work']\n__all__ += ['toil']\ndef work(): 'Do it.'\ntoil = work\ndef idle(): ...\n",
    )
    assert sorted(found) == ["lib", "lib.parts", "lib.work"]
    assert found["lib.work"].aliases == ("lib.toil", "lib.parts.work", "lib.parts.toil")


def test_without_all_a_module_offers_what_it_defines_in_any_branch(tmp_path: Path) -> None:
    found = places(
        tmp_path,
        tool="""
            import os
            from lib.other import helper
            try:
                def fast(): "Fast."
            except ImportError:
                def fast(): ...
            if os.name:
                @overload
                def many(x: int): ...
                def many(x): "Many."
        """,
        other="def helper(): ...\n",
    )
    assert sorted(found) == ["lib.other", "lib.other.helper", "lib.tool", "lib.tool.fast", "lib.tool.many"]
    assert found["lib.tool.many"].doc == "Many."
    assert found["lib.tool.fast"].doc == "Fast."


def test_fields_of_a_generated_init_are_the_signature(tmp_path: Path) -> None:
    found = places(
        tmp_path, data="@attrs.frozen\nclass Point:\n    'Two numbers.'\n    x: int\n    y: int = 0\n"
    )
    assert found["lib.data.Point"].signature == "class Point(x: int, y: int)"


def test_re_exports_in_a_circle_end(tmp_path: Path) -> None:
    found = places(
        tmp_path,
        init="from lib.a import *\n",
        a="from lib.b import *\nfrom lib.b import x\n",
        b="from lib.a import *\nfrom lib.a import x\n",
    )
    assert sorted(found) == ["lib", "lib.a", "lib.b"]


@pytest.mark.parametrize("text", [b"def (:\n", b"\xff\xfe\x00", b"x = 1\x00", b"(" * 5000])
def test_a_file_that_is_no_python_says_so(tmp_path: Path, text: bytes) -> None:
    path = tmp_path / "bad.py"
    path.write_bytes(text)
    with pytest.raises(sources.Unreadable, match=r"Error: "):
        sources.read("bad", "bad.py", path)


def test_a_huge_file_is_passed_over(tmp_path: Path) -> None:
    path = tmp_path / "table.py"
    path.write_bytes(b"#" * (sources.MAX_SOURCE_BYTES + 1))
    with pytest.raises(sources.Unreadable, match="bytes are more than"):
        sources.read("table", "table.py", path)
