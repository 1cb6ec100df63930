"""What ``trouper`` exports is explained where it stands: what it is, cancellation, errors to catch."""

from __future__ import annotations

import builtins
import inspect
import re
from collections.abc import Callable, Iterator
from typing import Any

import pytest

import trouper

NAMES = sorted(trouper.__all__)
CLASSES = [name for name in NAMES if inspect.isclass(getattr(trouper, name))]


def own_docstring(thing: Any) -> str:
    """Not one that is inherited, nor one that attrs or enum made."""
    found = vars(thing).get("__doc__") if inspect.isclass(thing) else thing.__doc__
    return found or ""


def classes_of(name: str) -> list[type]:
    """The class and those of ours that it is made of."""
    return [each for each in getattr(trouper, name).__mro__ if each.__module__.startswith("trouper.")]


def methods(name: str) -> Iterator[tuple[str, Callable[..., Any]]]:
    """The public functions of a class: methods, properties, those of the class itself."""
    for each in classes_of(name):
        for member, value in vars(each).items():
            function = value.fget if isinstance(value, property) else getattr(value, "__func__", value)
            if inspect.isfunction(function) and not member.startswith("_"):
                yield f"{name}.{member}", function


@pytest.mark.parametrize("name", NAMES)
def test_every_name_of_the_front_door_has_a_docstring_of_its_own(name: str) -> None:
    assert own_docstring(getattr(trouper, name)).strip()


@pytest.mark.parametrize("name", CLASSES)
def test_every_public_method_says_what_it_is_for(name: str) -> None:
    assert [member for member, function in methods(name) if not own_docstring(function).strip()] == []


@pytest.mark.parametrize("name", CLASSES)
def test_every_coroutine_says_what_a_cancellation_leaves_or_its_class_does(name: str) -> None:
    of_class = any("**Cancellation**" in own_docstring(each) for each in classes_of(name))
    silent = [
        member
        for member, function in methods(name)
        if inspect.iscoroutinefunction(function) and "**Cancellation**" not in own_docstring(function)
    ]
    assert silent == [] or of_class


def raised(docstring: str) -> set[str]:
    """The classes that a docstring says are raised."""
    sentences = re.findall(r"\bRaises? (.*?)\.(?:\s|$)", docstring, flags=re.DOTALL)
    return {name for sentence in sentences for name in re.findall(r"``([A-Z][a-z]+[A-Za-z]*)``", sentence)}


@pytest.mark.parametrize("name", NAMES)
def test_whatever_can_be_raised_can_be_caught_by_a_name_of_the_front_door(name: str) -> None:
    thing = getattr(trouper, name)
    texts = [own_docstring(thing)]
    if inspect.isclass(thing):
        texts += [own_docstring(each) for each in classes_of(name)]
        texts += [own_docstring(function) for _, function in methods(name)]
    told = set().union(*map(raised, texts))
    assert [each for each in sorted(told) if not hasattr(trouper, each) and not hasattr(builtins, each)] == []


def test_each_error_has_one_name_and_one_meaning() -> None:
    """Two classes of one name, of which one is exported, would have an ``except`` catch nothing."""
    seen: dict[str, type] = {}
    waiting = [trouper.TrouperError]
    for module in ("actors.job_spec", "supervisor.refusals", "transport.client_errors", "transport.gateway"):
        __import__(f"trouper.{module}")
    while waiting:
        error = waiting.pop()
        waiting += error.__subclasses__()
        if error.__module__.startswith("trouper.") and error.__module__.split(".")[1] != "simulation":
            assert seen.setdefault(error.__name__, error) is error
    assert len(seen) > 30
