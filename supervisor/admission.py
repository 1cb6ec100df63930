"""From a call to an ``Admission``: what is checked before the store is asked. No ``await``."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any, get_args

import attrs
import orjson

from trouper.actors.job_errors import beyond
from trouper.actors.job_spec import BadArguments, Call, JobSpec
from trouper.store.checks import need_options, wrong_count, wrong_number
from trouper.store.protocol import Admission, Admitted, Conflict, Mark, OnBusy, QueueFull, ThreadBusy
from trouper.store.records import Job
from trouper.supervisor.options import RuntimeOptions
from trouper.supervisor.refusals import KeyConflict, QueueIsFull, ThreadIsBusy, UnknownJob, UserQueueIsFull

LABEL_CHARS_MAX = 200
"""Users, threads and idempotency keys: 1 to 200 characters."""


def by_name(jobs: Iterable[JobSpec[Any, Any]], most: int) -> dict[str, JobSpec[Any, Any]]:
    """The jobs that a runtime is opened with. Raises ``TypeError`` and ``ValueError`` with what is legal."""
    specs: dict[str, JobSpec[Any, Any]] = {}
    if isinstance(jobs, JobSpec):
        raise TypeError(f"jobs is the job {jobs.name!r}: legal is a list of jobs")
    for spec in jobs:
        need_options("one of jobs", spec, JobSpec)
        if spec.name in specs:
            raise ValueError(f"two jobs are named {spec.name!r}: legal is one of each name")
        spec.hints()
        specs[spec.name] = spec
    if len(specs) > most:
        raise ValueError(f"{len(specs)} jobs: legal are up to {most} (StoreOptions.job_names_max)")
    return specs


def fingerprint(name: str, thread: str | None, arguments: str) -> str:
    """SHA-256 (hex) of the canonical JSON of [job name, thread, arguments] (J3)."""
    content = orjson.dumps([name, thread, orjson.loads(arguments)], option=orjson.OPT_SORT_KEYS)
    return hashlib.sha256(content).hexdigest()


def check_label(what: str, value: str) -> str:
    """``value`` if it may name a user, a thread or a key. Raises ``BadArguments``."""
    _need_text(what, value, "text")
    if not 1 <= len(value) <= LABEL_CHARS_MAX:
        legal = f"legal are texts of 1 to {LABEL_CHARS_MAX} characters"
        raise BadArguments(f"{what} {value!r:.40} has {len(value)}: {legal}")
    return value


def check_user(value: str) -> str:
    """``value`` if it may name a user. Raises ``BadArguments``."""
    return check_label("user", value)


def check_id(value: str) -> str:
    """``value`` if it may be the id of a job. Raises ``BadArguments``: a store knows no job of what is no
    text, so whoever hands over the job itself would be told that it is unknown."""
    _need_text("job id", value, "text, the job's id")
    return value


def _need_text(what: str, value: object, legal: str) -> None:
    if not isinstance(value, str):
        raise BadArguments(f"{what} {value!r:.40} is {type(value).__name__}: legal is {legal}")
    try:
        value.encode()
    except UnicodeEncodeError:
        raise BadArguments(f"{what} {value!r:.40} has a lone surrogate: legal is valid Unicode") from None


def check_limit(limit: int) -> int:
    """``limit`` if it may bound a list. Raises ``BadArguments``."""
    if legal := wrong_count(limit):
        raise BadArguments(f"limit={limit!r:.40}: {legal}")
    return limit


def check_mark(mark: Mark, ids: Iterable[str]) -> tuple[str, ...]:
    """The ids of notifications that are to be marked so. Raises ``BadArguments``."""
    if mark not in get_args(Mark):
        raise BadArguments(f"mark={mark!r:.40}: legal are {', '.join(map(repr, get_args(Mark)))}")
    if isinstance(ids, str):
        raise BadArguments(f"ids={ids!r:.40} is one text: legal are many ids, as a list has them")
    return tuple(ids)


def named_call(
    specs: Mapping[str, JobSpec[Any, Any]], name: str, arguments: Mapping[str, Any], *, clients_only: bool
) -> Call:
    """A call by name. Raises ``UnknownJob`` and ``BadArguments``, naming what is legal."""
    spec = specs.get(name)
    if spec is None or (clients_only and not spec.client):
        legal = sorted(n for n, s in specs.items() if s.client or not clients_only)
        raise UnknownJob(f"job {name!r}: legal are {', '.join(legal) or 'none'}")
    for argument in arguments:
        if not isinstance(argument, str):
            raise BadArguments(f"argument name {argument!r} of {name!r} is not text")
    return spec.call(**arguments)


@attrs.frozen
class When:
    """When a job is to run: at once, ``at`` a time (seconds since the epoch), or after ``delay_s``."""

    at: float | None = None
    delay_s: float = 0.0

    @property
    def put_off(self) -> bool:
        return self.at is not None or self.delay_s > 0


def check_when(at: datetime | float | None, delay: float, *, now: float, most_s: float) -> When:
    """``at`` and ``delay`` as one. Raises ``BadArguments``, naming what is legal."""
    if isinstance(at, datetime):
        if at.tzinfo is None:
            raise BadArguments(f"at={at!r} has no time zone: legal are aware datetimes and seconds")
        at = at.timestamp()
    if at is not None and delay:
        raise BadArguments("at and delay are both given: legal is one of them")
    if wrong_number(delay, zero=True) or delay > most_s:
        raise BadArguments(f"delay={delay!r}: legal are 0 to {most_s:g} seconds (max_delay_s)")
    if at is not None and (wrong_number(at, zero=True) or at > now + most_s):
        raise BadArguments(
            f"at={at!r}: legal are seconds since the epoch, up to {most_s:g} from now (max_delay_s)"
        )
    return When(None if at is None else float(at), float(delay))


def make_admission(
    call: Call,
    *,
    job_id: str,
    user: str,
    thread: str | None,
    idempotency_key: str | None,
    on_busy: OnBusy,
    when: When,
    options: RuntimeOptions,
) -> Admission:
    """The request for the store. Raises ``BadArguments``."""
    if on_busy not in get_args(OnBusy):
        raise BadArguments(f"on_busy={on_busy!r}: legal are {', '.join(map(repr, get_args(OnBusy)))}")
    if when.put_off and on_busy != "enqueue":
        raise BadArguments(f"on_busy={on_busy!r} of a job that is put off: legal is 'enqueue'")
    if thread is None and on_busy != "enqueue":
        raise BadArguments(f"on_busy={on_busy!r} of a job without a thread: legal is 'enqueue'")
    if (size := len(call.arguments.encode())) > options.arguments_bytes:
        what = f"the JSON of the arguments of {call.spec.name!r}"
        raise BadArguments(beyond(what, size, "bytes", options.arguments_bytes, "arguments_bytes"))
    thread = None if thread is None else check_label("thread", thread)
    return Admission(
        id=job_id,
        user=check_label("user", user),
        name=call.spec.name,
        arguments=call.arguments,
        fingerprint=fingerprint(call.spec.name, thread, call.arguments),
        thread=thread,
        idempotency_key=None if idempotency_key is None else check_label("idempotency key", idempotency_key),
        options=call.spec.options,
        on_busy=on_busy,
        at=when.at,
        delay_s=when.delay_s,
        max_queued=options.max_queued,
        max_queued_per_user=options.max_queued_per_user,
    )


def admitted(result: Admitted | Conflict | ThreadBusy | QueueFull, admission: Admission) -> tuple[Job, bool]:
    """(job, whether it is new), or the refusal as an error."""
    match result:
        case Admitted(job=job, created=created):
            return job, created
        case Conflict(job_id=job_id):
            key = admission.idempotency_key
            raise KeyConflict(f"idempotency key {key!r} was used with other content, by job {job_id}", job_id)
        case ThreadBusy(job_id=job_id):
            raise ThreadIsBusy(f"thread {admission.thread!r} is busy with job {job_id}", job_id)
        case QueueFull(limit=limit, of_user=True):
            raise UserQueueIsFull(
                f"{limit} of your jobs are queued, which is the limit (max_queued_per_user): try again later"
            )
        case QueueFull(limit=limit):
            raise QueueIsFull(f"{limit} jobs are queued, which is the limit (max_queued): try again later")
