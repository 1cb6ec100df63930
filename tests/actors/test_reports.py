"""Reports hold text, and splitting a crash from what must pass loses neither."""

from __future__ import annotations

import asyncio
import gc
import logging
import traceback
import weakref

import pytest

from trouper.actors.reports import (
    TEXT_CHARACTERS,
    Crash,
    Report,
    ReportKind,
    deliver,
    log_report,
    split_crash,
)


class Held:
    pass


def raise_while_holding(thing: Held) -> None:
    kept = thing
    raise ValueError(f"holding {type(kept).__name__}")


def crash_of(thing: Held) -> Crash:
    try:
        raise_while_holding(thing)
    except ValueError as error:
        return Crash.of(error)
    raise AssertionError


REPORT = Report(ReportKind.CRASH, "runtime/core", "ada", 2, "ValueError: boom", "the traceback", 1.5)


def test_the_text_of_a_crash_does_not_keep_the_frames_it_came_from() -> None:
    thing = Held()
    gone = weakref.ref(thing)
    crash = crash_of(thing)
    del thing
    gc.collect()
    assert gone() is None
    assert crash.summary == "ValueError: holding Held"
    assert "raise_while_holding" in crash.text


def test_the_text_is_bounded_and_keeps_its_end() -> None:
    crash = Crash.of(ValueError("x" * 10 * TEXT_CHARACTERS + "END"))
    assert len(crash.text) == TEXT_CHARACTERS
    assert crash.text.endswith("END\n")


def test_an_exception_without_a_text_is_still_told() -> None:
    class Mute(Exception):
        def __str__(self) -> str:
            raise RuntimeError

    assert Crash.of(Mute()).type.endswith("Mute")


def test_a_group_of_one_is_summed_up_as_the_one() -> None:
    crash = Crash.of(ExceptionGroup("outer", [ExceptionGroup("inner", [ValueError("boom\nmore")])]))
    assert crash.summary == "ValueError: boom"
    assert "outer" in crash.text


@pytest.mark.clause("S3")
def test_crashes_are_split_from_what_must_pass() -> None:
    value, interrupt = ValueError(), KeyboardInterrupt()
    assert split_crash(value) == (value, None)
    assert split_crash(interrupt) == (None, interrupt)
    crash, passing = split_crash(BaseExceptionGroup("g", [value, BaseExceptionGroup("h", [interrupt])]))
    assert isinstance(crash, ExceptionGroup)
    assert crash.exceptions == (value,)
    assert isinstance(passing, BaseExceptionGroup)
    assert passing.subgroup(ValueError) is None


@pytest.mark.clause("E1")
@pytest.mark.parametrize("error", [RuntimeError("no terminal"), asyncio.CancelledError(), GeneratorExit()])
def test_a_reporter_that_fails_stops_nothing(error: BaseException, caplog: pytest.LogCaptureFixture) -> None:
    def broken(_report: Report) -> None:
        raise error

    deliver(broken, REPORT)
    assert "the reporter failed on crash: runtime/core/ada #2: ValueError: boom" in caplog.text


@pytest.mark.parametrize("error", [KeyboardInterrupt(), SystemExit(3)])
def test_a_reporter_may_end_the_process(error: BaseException) -> None:
    def ends(_report: Report) -> None:
        raise error

    with pytest.raises(type(error)):
        deliver(ends, REPORT)


def test_the_default_reporter_logs_one_line_and_the_detail(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, logger="trouper"):
        log_report(REPORT)
    assert caplog.messages == ["crash: runtime/core/ada #2: ValueError: boom\nthe traceback"]


class OwnError(Exception):
    """Of a module, which its name in a traceback begins with."""


def test_the_text_of_a_crash_is_that_of_a_traceback_with_causes_notes_and_groups() -> None:
    def plain() -> None:
        raise ValueError("two\nlines")

    def chained() -> None:
        try:
            plain()
        except ValueError as error:
            error.add_note("a note")
            raise KeyError("missing") from error

    def grouped() -> None:
        try:
            chained()
        except KeyError as error:
            raise ExceptionGroup("several", [error, TypeError("other")]) from None

    def textless() -> None:
        raise OwnError

    def noted() -> None:
        error = OwnError("it has a note")
        error.add_note("a note")
        raise error

    def misspelt() -> None:
        plane()  # type: ignore[name-defined]  # noqa: F821  # what it may have meant is told

    def within() -> None:
        try:
            plain()
        except ValueError:
            raise OwnError("while another was handled")  # noqa: B904  # which is told

    def instead() -> None:
        try:
            plain()
        except ValueError:
            raise OwnError("not to be told of another") from None

    for failing in (plain, chained, grouped, textless, noted, misspelt, within, instead):
        with pytest.raises(Exception) as caught:  # noqa: PT011  # whatever it is
            failing()
        assert Crash.of(caught.value).text == "".join(traceback.format_exception(caught.value))


def test_a_report_of_a_crash_has_its_text_as_detail() -> None:
    crash = Crash.of(ValueError("boom"))
    report = Report(ReportKind.CRASH, "house", "child", 1, crash.summary, crash, 0.0)
    assert report.detail == crash.text
    assert "boom" in report.detail
