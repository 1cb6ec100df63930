"""Rows of SQLite to records and back.

A database file is input: any column may hold anything. A row that cannot be read as it was meant is
given with what can be read and the reason ``undecodable``, so that lists, feeds and claims go on
(E1); a claim ends such a job instead of running it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import lru_cache
from operator import attrgetter
from typing import Any, TypeAlias, TypeGuard

import attrs
import orjson

from trouper.store.questions import open_question
from trouper.store.records import Job, JobOptions, JobState, Notification
from trouper.store.rules import UNDECODABLE
from trouper.store.waiting import NEVER

Column: TypeAlias = str | int | float | bytes | None

JOB_FIELDS = tuple(field.name for field in attrs.fields(Job))
JOB_COLUMNS = ", ".join(JOB_FIELDS)
NOTIFICATION_FIELDS = tuple(field.name for field in attrs.fields(Notification))
NOTIFICATION_COLUMNS = ", ".join(NOTIFICATION_FIELDS)


WHOLE_MAX = 2**53
"""Every whole number of a row counts something and is below this: it can rise without leaving what a
column, or a reader of JSON, can hold."""


_REMEMBERED = 256
"""Texts of options and of keeps that are remembered with what they mean: nearly all rows have the same."""


# --- columns to values; each raises ValueError ---------------------------------------------------


def _text(value: Column) -> str:
    if not isinstance(value, str):
        raise ValueError(f"{type(value).__name__} instead of text")
    return value


def _whole(value: Column) -> int:
    if not isinstance(value, int):
        raise ValueError(f"{type(value).__name__} instead of an integer")
    if not 0 <= value < WHOLE_MAX:
        raise ValueError(f"{value} instead of a count")
    return value


def _real(value: Column) -> float:
    if not isinstance(value, float | int) or not math.isfinite(value):
        raise ValueError(f"{value if isinstance(value, float) else type(value).__name__} instead of a number")
    return float(value)


def _flag(value: Column) -> bool:
    return bool(_whole(value))


def _state(value: Column) -> JobState:
    return JobState(_text(value))


@lru_cache(_REMEMBERED)
def _keeps(value: Column) -> tuple[int, ...]:
    loaded = orjson.loads(_text(value))
    if not isinstance(loaded, list) or not all(type(keep) is int for keep in loaded):
        raise ValueError("not an array of integers")
    return tuple(_whole(keep) for keep in loaded)


def _is_real(value: object) -> TypeGuard[float]:
    return isinstance(value, float | int) and math.isfinite(value)


@lru_cache(_REMEMBERED)
def _options(value: Column) -> JobOptions:
    loaded = orjson.loads(_text(value))
    if not isinstance(loaded, dict):
        raise ValueError("not an object")
    defaults = attrs.asdict(JobOptions())
    if not loaded.keys() <= defaults.keys():
        raise ValueError(f"unknown options {sorted(loaded.keys() - defaults.keys())}")
    for name, default in defaults.items():
        given = loaded.setdefault(name, default)
        if default is None:
            legal = given is None or _is_real(given)
        elif isinstance(default, tuple):
            legal = isinstance(given, list | tuple) and all(isinstance(item, str) for item in given)
        elif isinstance(default, float):
            legal = _is_real(given)
        else:
            legal = isinstance(given, type(default))
        if not legal:
            raise ValueError(f"option {name} is {given!r}")
        if _is_real(given) and (default is None or isinstance(default, float)):
            loaded[name] = float(given)  # the power of a whole number may be endlessly long
    return JobOptions(**{**loaded, "notify_on": tuple(loaded["notify_on"])})


def _asking(value: Column) -> str:
    if not isinstance(open_question(_text(value)).get("key"), str):
        raise ValueError("not a question")
    return _text(value)


_BY_NAME: dict[str, Callable[[Column], Any]] = {"asking": _asking}

_BY_TYPE: dict[Any, Callable[[Column], Any]] = {
    "str": _text,
    "int": _whole,
    "float": _real,
    "bool": _flag,
    "JobState": _state,
    "JobOptions": _options,
    "tuple[int, ...]": _keeps,
}


_Reader = tuple[str, Callable[[Column], Any], type[object] | None, bool]
"""The field's name, how its column is read, the type (of text) of which it is taken as it is, and whether it
may be NULL."""


def _readers(cls: type[attrs.AttrsInstance]) -> tuple[_Reader, ...]:
    readers: list[_Reader] = []
    for field in attrs.fields(cls):
        name, _, optional = str(field.type).partition(" | ")
        read = _BY_NAME.get(field.name, _BY_TYPE[name])
        readers.append((field.name, read, str if read is _text else None, bool(optional)))
    return tuple(readers)


_JOB_READERS = _readers(Job)
_NOTIFICATION_READERS = _readers(Notification)

# Whether a hook waits for its end is not known where the options cannot be read: better one too many.
_JOB_FALLBACKS: dict[str, Any] = {
    "id": "",
    "user": "",
    "name": "",
    "state": JobState.LOST,
    "options": JobOptions(on_ended=True),
}
_NOTIFICATION_FALLBACKS: dict[str, Any] = {"id": "", "user": "", "job": "", "kind": "message"}


def _read(
    readers: Sequence[_Reader], row: Sequence[Column], fallbacks: dict[str, Any]
) -> tuple[dict[str, Any], list[str]]:
    """What can be read of a row, and what is wrong with the rest of it."""
    values: dict[str, Any] = {}
    wrong: list[str] = []
    for (name, read, plain, optional), column in zip(readers, row, strict=True):
        if type(column) is plain or (column is None and optional):  # most are
            values[name] = column
            continue
        try:
            values[name] = read(column)
        except ValueError as error:  # JSON's and an unknown state's too
            wrong.append(f"{name}: {error}")
            if name in fallbacks:
                values[name] = fallbacks[name]
    return values, wrong


def _asks_nothing(values: dict[str, Any]) -> bool:
    """Of a row that waits for ever. (One that has not begun may be put off so far.)"""
    asks = "asking" not in values or values["asking"] is not None
    return values.get("state") is JobState.QUEUED and values.get("attempt", 0) > 0 and not asks


def read_job(row: Sequence[Column]) -> Job:
    """The job of a row of ``JOB_COLUMNS``, set aside if it is damaged."""
    values, wrong = _read(_JOB_READERS, row, _JOB_FALLBACKS)
    if values.get("run_at", 0.0) > NEVER / 2 and _asks_nothing(values):
        wrong.append("asking: nothing, though it waits for a person")
    if wrong:
        values["reason"] = UNDECODABLE
        values["error"] = f"the row of this job is damaged: {'; '.join(wrong)}"
    return Job(**values)


def read_notification(row: Sequence[Column]) -> Notification:
    """The notification of a row of ``NOTIFICATION_COLUMNS``, set aside if it is damaged."""
    values, wrong = _read(_NOTIFICATION_READERS, row, _NOTIFICATION_FALLBACKS)
    if wrong:
        values["title"] = "(a notification that cannot be read)"
        values["body"] = f"its row is damaged: {'; '.join(wrong)}"
    return Notification(**values)


# --- values to columns ---------------------------------------------------------------------------


_job_values = attrgetter(*JOB_FIELDS)
_OPTIONS, _STATE, _KEEPS = map(JOB_FIELDS.index, ("options", "state", "keeps"))


@lru_cache(_REMEMBERED)
def _options_column(options: JobOptions) -> str:
    return orjson.dumps(attrs.asdict(options)).decode()


def job_columns(job: Job) -> list[Column]:
    """The columns of ``JOB_COLUMNS``."""
    columns: list[Any] = list(_job_values(job))
    columns[_OPTIONS] = _options_column(job.options)
    columns[_STATE] = job.state.value
    columns[_KEEPS] = orjson.dumps(job.keeps).decode()
    return columns


def notification_columns(notification: Notification) -> list[Column]:
    """The columns of ``NOTIFICATION_COLUMNS``."""
    return [getattr(notification, name) for name in NOTIFICATION_FIELDS]
