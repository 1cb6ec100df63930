"""What is read from metadata, also where it is old, odd or missing."""

from __future__ import annotations

import json
from importlib import metadata
from pathlib import Path

import pytest

from examples.chat.jobs import packages

LONG_LICENCE = f"License: the whole text of it{', and so on' * 9}\n"


def distribution(folder: Path, about: str, record: str | None = None, **files: str) -> metadata.Distribution:
    """A distribution as an installer leaves it, with ``about`` as its METADATA."""
    info = folder / "sample-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.4\nName: Sample-Thing\nVersion: 1.0\n{about}")
    if record is not None:
        (info / "RECORD").write_text(record)
    for name, text in files.items():
        (info / name.replace("__", ".")).write_text(text)
    return metadata.PathDistribution(info)


@pytest.mark.parametrize(
    ("about", "licence"),
    [
        ("License-Expression: MIT OR Apache-2.0\nLicense: x\n", "MIT OR Apache-2.0"),
        ("License: BSD\n", "BSD"),
        ("License: UNKNOWN\n", ""),
        (
            LONG_LICENCE + "Classifier: License :: OSI Approved :: MIT License\n",
            "MIT License",
        ),
        ("Classifier: Framework :: Trio\n", ""),
    ],
)
def test_the_licence_is_the_shortest_name_that_the_metadata_gives(
    tmp_path: Path, about: str, licence: str
) -> None:
    assert packages.describe(distribution(tmp_path, about)).licence == licence


def test_what_only_an_extra_asks_for_is_no_dependency() -> None:
    lines = ["trio>=0.22", "zope.interface ; python_version < '4'", "pytest ; extra == 'dev'", "(broken"]
    assert list(packages.dependencies(lines)) == ["trio", "zope.interface"]


def test_files_that_are_listed_and_gone_are_not_counted(tmp_path: Path) -> None:
    (tmp_path / "sample_thing").mkdir()
    (tmp_path / "sample_thing" / "__init__.py").write_text("x = 1\n")
    record = "sample_thing/__init__.py,,\nsample_thing/gone.py,,\n../../bin/tool,,\n_private.py,,\n"
    package = packages.describe(distribution(tmp_path, "Summary: two\n  lines\n", record))
    assert (package.files, package.bytes) == (1, 6)
    assert package.importable == ("sample_thing",)
    assert package.summary == "two lines"


def test_a_distribution_without_a_list_of_files_is_read_from_its_top_level_names(tmp_path: Path) -> None:
    (tmp_path / "sample").mkdir()
    (tmp_path / "sample" / "part.py").write_text("")
    (tmp_path / "single.py").write_text("")
    found = distribution(tmp_path, "", top_level__txt="sample\nsingle\nmissing\n")
    assert sorted(packages.module_files(found)) == ["sample.part", "single"]


def test_a_linked_working_tree_is_followed_and_a_link_in_a_circle_is_not(tmp_path: Path) -> None:
    tree = tmp_path / "tree" / "sample_thing"
    tree.mkdir(parents=True)
    (tree / "__init__.py").write_text("")
    (tree / "again").symlink_to(tree, target_is_directory=True)
    (tmp_path / "_link.pth").write_text(f"{tmp_path / 'tree'}\n")
    address = json.dumps({"url": "file:///x", "dir_info": {"editable": True}})
    found = distribution(tmp_path, "", "_link.pth,,\n", direct_url__json=address)
    assert sorted(packages.module_files(found)) == ["sample_thing"]
    assert packages.describe(found).editable


def test_nothing_at_all_is_empty_and_no_error(tmp_path: Path) -> None:
    package = packages.describe(distribution(tmp_path, ""))
    assert (package.files, package.importable, package.licence, package.dependencies) == (0, (), "", ())


def test_private_and_accidental_names_are_not_what_a_user_imports() -> None:
    assert packages.importable("my-lib", ["tests.x", "_my", "other", "my_lib.a"]) == ("my_lib", "other")
    assert packages.importable("my-lib", ["_speedups"]) == ("_speedups",)


def test_each_installed_distribution_is_there_once_and_sorted() -> None:
    names = [packages.canonical(name) for name, _ in packages.installed()]
    assert names == sorted(set(names))
    assert {"trio", "attrs"} <= set(names)
