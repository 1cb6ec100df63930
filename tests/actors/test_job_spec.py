"""Declaring a job, and what its arguments may be."""

from __future__ import annotations

import functools
from datetime import UTC, date, datetime
from typing import TYPE_CHECKING, Any, Literal
from uuid import UUID

import attrs
import orjson
import pytest

import trouper
from trouper.actors.job_spec import JobSpec

if TYPE_CHECKING:
    from decimal import Decimal

    from trouper import JobContext


@attrs.frozen
class Options:
    depth: int
    mode: Literal["fast", "good"] = "fast"


@trouper.job(client=True)
async def reply(
    ctx: trouper.JobContext,
    *,
    prompt: str,
    n: int = 3,
    tags: list[str] | None = None,
    options: Options | None = None,
) -> None: ...


def test_a_call_holds_its_arguments_as_canonical_json() -> None:
    assert reply.call(tags=["b", "a"], prompt="h\u00e9").arguments == '{"prompt":"h\u00e9","tags":["b","a"]}'


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({}, "'prompt' is missing; legal are"),
        ({"prompt": "x", "z": 1}, "'z' is not one of them; legal are"),
        ({"prompt": 7}, "argument 'prompt' of 'reply': expected str, got int"),
        ({"prompt": "x", "n": "7"}, "argument 'n' of 'reply': expected int, got str"),
        ({"prompt": "x", "n": 7.0}, "argument 'n' of 'reply': expected int, got float"),
        ({"prompt": "x", "n": True}, "argument 'n' of 'reply': expected int, got bool"),
        ({"prompt": "x", "tags": ["a", 1]}, "argument 'tags' of 'reply': expected str, got int"),
        ({"prompt": "x", "options": {"depth": 1, "mode": "bad"}}, "argument 'options' of 'reply': "),
        ({"prompt": "x", "options": {"mode": "fast"}}, "'depth' is missing; .*tags: list\\[str\\] | None"),
        ({"prompt": "x", "options": {"depth": 1, "other": 2}}, "argument 'options' of 'reply': .*other"),
        ({"prompt": "\ud800"}, "arguments of 'reply' are not JSON"),
        ({"prompt": object()}, "arguments of 'reply' are not JSON"),
    ],
)
def test_arguments_are_held_strictly_to_the_signature(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(trouper.BadArguments, match=message):
        reply.call(**arguments)


def test_arguments_come_back_as_the_types_of_the_signature() -> None:
    assert reply.structure({"prompt": "x", "options": {"depth": 2, "mode": "good"}}) == {
        "prompt": "x",
        "options": Options(2, "good"),
    }


def test_times_and_uuids_are_texts_in_the_arguments_and_come_back_as_what_they_were() -> None:
    @trouper.job
    async def remind(ctx: trouper.JobContext, *, at: datetime, on: date, of: UUID) -> None: ...

    given = {"at": datetime(2026, 1, 2, 3, 4, tzinfo=UTC), "on": date(2026, 1, 2), "of": UUID(int=7)}
    stored = remind.call(**given).arguments
    assert orjson.loads(stored)["at"] == "2026-01-02T03:04:00+00:00"
    assert remind.structure(orjson.loads(stored)) == given
    with pytest.raises(trouper.BadArguments, match="expected datetime as text, got int"):
        remind.call(**{**given, "at": 7})
    with pytest.raises(trouper.BadArguments, match="Invalid isoformat string: 'noon'"):
        remind.call(**{**given, "at": "noon"})


def test_the_context_may_be_imported_for_type_checkers_alone() -> None:
    @trouper.job
    async def work(ctx: JobContext, *, n: int) -> Decimal:
        raise NotImplementedError

    assert work.call(n=7).arguments == '{"n":7}'
    part = trouper.job(name="part")(functools.partial(work.function))
    assert part.call(n=7).arguments == '{"n":7}'


async def test_an_argument_whose_type_is_not_there_at_run_time_is_named_when_the_runtime_opens() -> None:
    @trouper.job
    async def work(ctx: trouper.JobContext, *, price: Decimal) -> None: ...

    legal = (
        "parameter 'price' of job 'work' is annotated 'Decimal', but name 'Decimal' is not defined: legal is"
    )
    with pytest.raises(TypeError, match=legal):
        work.call(price=1)
    with pytest.raises(TypeError, match=legal):
        async with trouper.open_runtime("memory:", jobs=[work]):
            pass


@attrs.frozen
class Checked:
    """One that is checked by a library which is written in Rust, and panics."""

    size: int

    def __attrs_post_init__(self) -> None:
        raise Panic("out of range")


class Panic(BaseException):
    pass


async def checks(ctx: trouper.JobContext, *, of: Checked) -> None: ...


@pytest.mark.clause("E1")
def test_what_a_type_of_an_argument_raises_beside_exception_is_told_of_that_argument() -> None:
    """A client sends it: it would end the process of everybody."""
    with pytest.raises(trouper.BadArguments, match="argument 'of' of 'checks': Panic: out of range"):
        trouper.job(checks).structure({"of": {"size": 1}})


def declare(**options: Any) -> JobSpec[Any, Any]:
    async def work(ctx: trouper.JobContext) -> None: ...

    return trouper.job(**options)(work)


@pytest.mark.parametrize(
    ("options", "legal"),
    [
        ({"name": "9 lives"}, "legal are 1 to 64 letters"),
        ({"name": 9}, "legal are 1 to 64 letters"),
        ({"timeout": 0}, "legal are None and seconds above 0"),
        ({"on_process_death": "ignore"}, "legal are 'retry' and 'end'"),
        ({"notify_on": ["running"]}, "legal are completed, failed, cancelled, timed_out, lost"),
    ],
)
def test_a_declaration_that_is_not_legal_says_what_is(options: dict[str, Any], legal: str) -> None:
    with pytest.raises(ValueError, match=legal):
        declare(**options)


@pytest.mark.parametrize("attempts", [0, 1001])
def test_a_retry_has_at_least_one_attempt_and_at_most_a_thousand(attempts: int) -> None:
    with pytest.raises(ValueError, match="legal are 1 to 1000"):
        trouper.Retry(attempts=attempts)


def test_a_function_that_is_no_job_is_refused_where_it_is_declared() -> None:
    def plain(ctx: trouper.JobContext) -> None: ...

    async def positional(ctx: trouper.JobContext, prompt: str) -> None: ...

    async def no_context() -> None: ...

    for function in (plain, positional, no_context):
        with pytest.raises(TypeError, match="legal is an async function with one positional parameter"):
            trouper.job(function)  # type: ignore[arg-type]


@trouper.job
async def anything(ctx: trouper.JobContext, *, value: Any, self: int = 0) -> None: ...


def test_an_argument_may_have_any_name() -> None:
    assert anything.call(value=1, self=2).arguments == '{"self":2,"value":1}'


def test_arguments_nested_deeper_than_encoders_go_are_refused() -> None:
    def nested(levels: int) -> Any:
        value: Any = 1
        for _ in range(levels):
            value = [value]
        return value

    anything.call(value=nested(99))
    for levels in (100, 300, 5000):
        with pytest.raises(trouper.BadArguments, match="legal are 100 levels of nesting"):
            anything.call(value=nested(levels))


def test_an_option_that_no_job_has_is_named_with_those_that_there_are() -> None:
    with pytest.raises(TypeError, match=r"no option 'retries': legal are client, .*, retry, timeout$"):
        trouper.job(retries=3)  # type: ignore[call-overload]
