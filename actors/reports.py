"""One shape for everything that is worth telling whoever runs the program: ``Report``.

A report holds text only. A traceback that is kept would keep the frames of the dead actor, and with
them all that it held.
"""

from __future__ import annotations

import enum
import logging
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cached_property
from itertools import islice
from types import CodeType
from typing import Final

import attrs
import trio

TEXT_CHARACTERS: Final = 16_384
"""Bound of a crash's text. The end is kept: the last lines of a traceback say what happened."""

_log = logging.getLogger("trouper")


class ReportKind(enum.Enum):
    """What happened."""

    CRASH = "crash"
    """An exception came out of a child."""
    RESTART = "restart"
    """A child was started again."""
    START_FAILED = "start_failed"
    """A child ended, or ran out of time, before it said that it had started."""
    GIVE_UP = "give_up"
    """A child failed too often: it is not started again, or its supervisor ends too."""
    STUCK = "stuck"
    """A child was cancelled and does not end; ``detail`` is its stack. Nothing can kill it."""
    LEASE_LOST = "lease_lost"
    """This node could not renew its lease on the store in time: it stopped what it ran under it."""
    UNRECORDED = "unrecorded"
    """What ended, or was given back, as the runtime stopped could not be recorded: the store was down."""
    ABANDONED = "abandoned"
    """As the runtime ended, its store's disk did not answer: a thread was left with it."""
    SHUTDOWN = "shutdown"
    """A supervisor stopped; ``detail`` says how each child ended."""


@attrs.frozen(eq=False)
class Crash:
    """The text of an exception, without the exception.

    What the text is made of is taken at once: the message, and of each frame the code and the place in it,
    but not the frame. It is put together, which takes ten times as long, when somebody reads it.
    """

    type: str
    message: str
    _told: traceback.TracebackException | str
    """All but the stack of the exception itself. Of a plain one that is its last line."""
    _stack: tuple[tuple[CodeType, int, int], ...]
    """Code, offset of the instruction, line."""

    @property
    def summary(self) -> str:
        """``ValueError: no such model``, in one line."""
        return _in_one_line(self.type, self.message)

    @cached_property
    def text(self) -> str:
        """The traceback, at most ``TEXT_CHARACTERS``, from the end."""
        stack = traceback.StackSummary.from_list([_frame(*place) for place in self._stack])
        if isinstance(self._told, str):
            lines = ["Traceback (most recent call last):\n", *stack.format(), self._told]
        else:
            self._told.stack = stack
            lines = list(self._told.format())
        return "".join(lines)[-TEXT_CHARACTERS:]

    @classmethod
    def of(cls, error: BaseException) -> Crash:
        """Take the text of ``error``. A group of one is told as the one, with the group in the text."""
        inner = _innermost(error)
        try:
            message = str(inner)
        except Exception as broken:  # an exception whose __str__ raises must not hide that it was raised
            message = f"(its text cannot be made: {type(broken).__name__})"
        stack = []
        each = error.__traceback__
        while each is not None:
            stack.append((each.tb_frame.f_code, each.tb_lasti, each.tb_lineno))
            each = each.tb_next
        return cls(type(inner).__qualname__, message, _told(error, message), tuple(stack))


def _told(error: BaseException, message: str) -> traceback.TracebackException | str:
    if (
        error.__cause__ is not None
        or (error.__context__ is not None and not error.__suppress_context__)
        or hasattr(error, "__notes__")
        or isinstance(error, _TOLD_SPECIALLY)
    ):
        return traceback.TracebackException(type(error), error, None, compact=True)
    # As that would say it, in a tenth of the time.
    module, name = type(error).__module__, type(error).__qualname__
    full_name = name if module in {"builtins", "__main__"} else f"{module}.{name}"
    return f"{full_name}: {message}\n" if message else f"{full_name}\n"


_TOLD_SPECIALLY: Final = (BaseExceptionGroup, SyntaxError, NameError, AttributeError, ImportError)
"""What a traceback tells more of than its text: those in it, a place in a source, what was meant."""


def _frame(code: CodeType, offset: int, line: int) -> traceback.FrameSummary:
    """What a traceback shows of one frame, the marks under the line included."""
    places = next(islice(code.co_positions(), offset // 2, None), (None,) * 4)
    end_line, column, end_column = places[1:]
    return traceback.FrameSummary(
        code.co_filename, line, code.co_name, end_lineno=end_line, colno=column, end_colno=end_column
    )


@attrs.frozen
class Report:
    """Something happened under a supervisor."""

    kind: ReportKind
    path: str
    """The supervisor: its name after those of the supervisors above it, ``runtime/core/jobs``."""
    child: str | None
    """The child's name; ``None`` if it is about the supervisor itself."""
    incarnation: int
    """Which one of the child, counted from 1; 0 if none."""
    reason: str
    """One line."""
    _detail: str | Crash = attrs.field(alias="detail")
    at: float
    """Wall clock, seconds since the epoch."""
    value: object = None
    """The same for programs, where there is more than text: the exit of what crashed, the record of a
    shutdown."""

    @property
    def detail(self) -> str:
        """Several lines, or none: a traceback, a stack, the outcome of each child."""
        return self._detail.text if isinstance(self._detail, Crash) else self._detail

    def __str__(self) -> str:
        who = self.path if self.child is None else f"{self.path}/{self.child}"
        number = f" #{self.incarnation}" if self.incarnation else ""
        return f"{self.kind.value}: {who}{number}: {self.reason}"


Reporter = Callable[[Report], object]


def log_report(report: Report) -> None:
    """The default reporter: the ``trouper`` logger, as a warning, or as info for a shutdown."""
    level = logging.INFO if report.kind is ReportKind.SHUTDOWN else logging.WARNING
    _log.log(level, "%s%s", report, f"\n{report.detail}" if report.detail else "")


def deliver(reporter: Reporter, report: Report) -> None:
    """Give ``report`` to ``reporter``, whose own failure is logged: listening must not stop what runs."""
    try:
        with exceptions_only():
            reporter(report)
    except Exception:
        _log.exception("the reporter failed on %s", report)


def summary_of(error: BaseException) -> str:
    """``Crash.of(error).summary`` without the traceback, whose text is a hundred times as dear."""
    inner = _innermost(error)
    try:
        return _in_one_line(type(inner).__qualname__, str(inner))
    except Exception:  # as in Crash.of
        return type(inner).__qualname__


def _innermost(error: BaseException) -> BaseException:
    while isinstance(error, BaseExceptionGroup) and len(error.exceptions) == 1:
        error = error.exceptions[0]
    return error


def _in_one_line(type_name: str, message: str) -> str:
    first_line = message.partition("\n")[0]
    return f"{type_name}: {first_line}" if first_line else type_name


def split_crash(error: BaseException) -> tuple[Exception | None, BaseException | None]:
    """Part what is a crash from what must pass: ``KeyboardInterrupt``, ``SystemExit``, ``Cancelled``.

    Groups are split, never swallowed and never unwrapped: a group that holds a ``ValueError`` and a
    ``Cancelled`` would slip past ``except Exception`` whole.
    """
    if isinstance(error, BaseExceptionGroup):
        crash, rest = error.split(Exception)
        return crash, rest  # pyright: ignore[reportReturnType]  # split(Exception) makes an ExceptionGroup
    if isinstance(error, Exception):
        return error, None
    return None, error


_PASSES = (KeyboardInterrupt, trio.Cancelled)


def split_failure(error: BaseException) -> tuple[BaseException | None, BaseException | None]:
    """As ``split_crash``, of what a function of the application raised (a job, a hook): all but
    ``KeyboardInterrupt`` and ``Cancelled`` is a failure of that function alone.

    ``SystemExit`` is one, and so is what stands beside ``Exception``: asyncio's ``CancelledError``, or the
    panic of a library that is written in Rust, would else end everybody's process.
    """
    if isinstance(error, BaseExceptionGroup):
        passing, failure = error.split(_PASSES)
        return failure, passing
    return (None, error) if isinstance(error, _PASSES) else (error, None)


@contextmanager
def exceptions_only() -> Iterator[None]:
    """Around a call of the application where ``Exception`` is looked for: another failure, but for
    ``SystemExit``, comes out as ``RuntimeError`` with that as its cause."""
    try:
        yield
    except BaseException as error:
        failure, passing = split_failure(error)
        if failure is None or passing is not None or isinstance(failure, Exception | SystemExit):
            raise
        raise RuntimeError(Crash.of(failure).summary) from failure  # noqa: ASYNC104  # it is none
