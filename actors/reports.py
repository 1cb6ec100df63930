"""One shape for everything that is worth telling whoever runs the program: ``Report``.

A report holds text only. A traceback that is kept would keep the frames of the dead actor, and with
them all that it held.
"""

from __future__ import annotations

import enum
import logging
import traceback
from collections.abc import Callable
from typing import Final

import attrs

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
    SHUTDOWN = "shutdown"
    """A supervisor stopped; ``detail`` says how each child ended."""


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
    detail: str
    """Several lines, or none: a traceback, a stack, the outcome of each child."""
    at: float
    """Wall clock, seconds since the epoch."""
    value: object = None
    """The same for programs, where there is more than text: the exit of what crashed, the record of a
    shutdown."""

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
        reporter(report)
    except Exception:
        _log.exception("the reporter failed on %s", report)


@attrs.frozen
class Crash:
    """The text of an exception, without the exception."""

    type: str
    message: str
    text: str
    """The traceback, at most ``TEXT_CHARACTERS``, from the end."""

    @property
    def summary(self) -> str:
        """``ValueError: no such model``, in one line."""
        first_line = self.message.partition("\n")[0]
        return f"{self.type}: {first_line}" if first_line else self.type

    @classmethod
    def of(cls, error: BaseException) -> Crash:
        """Take the text of ``error``. A group of one is told as the one, with the group in the text."""
        inner = error
        while isinstance(inner, BaseExceptionGroup) and len(inner.exceptions) == 1:
            inner = inner.exceptions[0]
        try:
            message = str(inner)
            text = "".join(traceback.format_exception(error))
        except Exception as broken:  # an exception whose __str__ raises must not hide that it was raised
            message = f"(its text cannot be made: {type(broken).__name__})"
            text = "".join(traceback.format_tb(error.__traceback__)) + message
        return cls(type(inner).__qualname__, message, text[-TEXT_CHARACTERS:])


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
