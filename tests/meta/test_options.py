"""Options that make no sense are refused where they are given, with what was wrong and what is legal."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import attrs
import pytest

import trouper
from trouper.actors.options import ChannelLimits, JobLimits
from trouper.store.options import StoreOptions
from trouper.supervisor.options import RuntimeOptions
from trouper.transport.client_options import ClientOptions
from trouper.transport.options import GatewayOptions

CLASSES = (RuntimeOptions, JobLimits, ChannelLimits, StoreOptions, GatewayOptions, ClientOptions)
NUMBERS = [
    (options, field.name)
    for options in CLASSES
    for field in attrs.fields(options)
    if isinstance(field.default, int | float) and not isinstance(field.default, bool)
]


@pytest.mark.clause("E2")
@pytest.mark.parametrize(("options", "name"), NUMBERS)
@pytest.mark.parametrize("value", [-1, math.nan, math.inf, "5", True, None, [3]])
def test_every_bound_refuses_what_is_no_bound_and_names_itself(
    options: Callable[..., Any], name: str, value: object
) -> None:
    with pytest.raises(ValueError, match=rf"{name}\W.*legal are (whole|finite) numbers (from|above) \d"):
        options(**{name: value})


@pytest.mark.clause("E2")
@pytest.mark.parametrize(("options", "name"), NUMBERS)
def test_every_bound_that_is_a_number_of_something_is_a_whole_number(
    options: Callable[..., Any], name: str
) -> None:
    whole = not name.endswith("_s")
    if whole:
        with pytest.raises(ValueError, match=f"{name}.*legal are whole numbers"):
            options(**{name: 1.5})
    else:
        assert getattr(options(**{name: 1.5}), name) == 1.5


@pytest.mark.parametrize("value", ["FAST", "", "zero", True, 1, None, ["on"]])
def test_an_option_that_is_one_of_a_few_words_refuses_others_and_says_which(value: object) -> None:
    with pytest.raises(ValueError, match=r"secure_delete=.*: legal are 'fast', 'off', 'on'$"):
        StoreOptions(secure_delete=value)  # type: ignore[arg-type]


def test_options_within_options_are_of_their_kind() -> None:
    with pytest.raises(ValueError, match=r"RuntimeOptions.jobs=None: legal is JobLimits\(…\)"):
        RuntimeOptions(jobs=None)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match=r"backoff=3: legal is Backoff\(…\)"):
        trouper.Retry(backoff=3)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"timeout": "5"}, r"timeout='5' of job 'work': legal are None and seconds above 0"),
        ({"retry": 3}, r"retry of job 'work'=3: legal is Retry\(…\)"),
    ],
)
def test_a_job_that_is_declared_with_the_wrong_kind_is_told_what_is_legal(
    wrong: dict[str, Any], message: str
) -> None:
    async def work(ctx: trouper.JobContext) -> None: ...

    with pytest.raises((TypeError, ValueError), match=message):
        trouper.job(**wrong)(work)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"url": 5, "jobs": []}, r"5 names no store; legal forms: memory: \|.*"),
        ({"jobs": [max]}, r"one of jobs=<built-in function max>: legal is JobSpec\(…\)"),
        ({"jobs": [], "options": {}}, r"options=\{\}: legal is RuntimeOptions\(…\)"),
        ({"jobs": [], "store_options": 1}, r"store_options=1: legal is StoreOptions\(…\)"),
    ],
)
async def test_a_runtime_that_is_opened_with_the_wrong_kind_is_told_what_is_legal(
    arguments: dict[str, Any], message: str
) -> None:
    with pytest.raises((TypeError, trouper.StoreRefused), match=message):
        async with trouper.open_runtime(**arguments):
            raise AssertionError("it was opened")


async def test_one_job_in_the_place_of_a_list_of_jobs_is_named() -> None:
    @trouper.job
    async def work(ctx: trouper.JobContext) -> None: ...

    with pytest.raises(TypeError, match="jobs is the job 'work': legal is a list of jobs"):
        async with trouper.open_runtime(jobs=work):  # type: ignore[arg-type]
            raise AssertionError("it was opened")
