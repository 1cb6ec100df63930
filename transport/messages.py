"""Every item of the wire protocol, as a frozen class (docs/protocol.md is the specification).

A field that is named otherwise on the wire says so with ``wire(...)``. Validators check *values*
(``values``) and raise ``OutOfRange``; the JSON *types* are the codec's to check.
"""

from __future__ import annotations

from typing import Any, ClassVar, get_args

import attrs

from trouper.store.protocol import OnBusy
from trouper.transport.codes import COALESCE_MS, MAX_INTEGER, PROTOCOL_VERSION
from trouper.transport.rows import Counts as Counts
from trouper.transport.rows import JobDetail as JobDetail
from trouper.transport.rows import JobRow as JobRow
from trouper.transport.rows import MessageRow as MessageRow
from trouper.transport.rows import NotificationRow as NotificationRow
from trouper.transport.rows import ThreadRow as ThreadRow
from trouper.transport.values import OutOfRange, between, exact, length, one_of
from trouper.transport.wording import brief

JsonObject = dict[str, Any]
"""A JSON object whose contents are not ours to judge."""


def wire(name: str) -> dict[str, str]:
    """The metadata of a field whose name on the wire is ``name``."""
    return {"wire": name}


_natural = between(0, MAX_INTEGER)
_name = length(1, 200)
_command_id = length(1, 64)
_limit = between(1, 100)
_coalesce = one_of(*COALESCE_MS, None)


class Item:
    """The base of every item; ``t`` is its tag on the wire."""

    t: ClassVar[str]


class Command(Item):
    """A client's item that gets exactly one reply."""

    id: str


# --- both ways ----------------------------------------------------------------------------------


@attrs.frozen
class Beat(Item):
    t: ClassVar[str] = "beat"


@attrs.frozen
class FeedCursor:
    """What a client holds of the feed."""

    epoch: str = attrs.field(validator=_name)
    seq: int = attrs.field(validator=_natural)


# --- from the client ----------------------------------------------------------------------------


@attrs.frozen(kw_only=True)
class Hello(Item):
    t: ClassVar[str] = "hello"
    visible: bool
    token: str | None = attrs.field(default=None, repr=False, validator=length(0, 8192))
    feed: FeedCursor | None = None
    coalesce_ms: int | None = attrs.field(default=None, validator=_coalesce)


@attrs.frozen
class Attach(Item):
    t: ClassVar[str] = "attach"
    job: str = attrs.field(validator=_name)
    attempt: int = attrs.field(validator=_natural)
    n: int = attrs.field(validator=_natural)


@attrs.frozen
class Detach(Item):
    t: ClassVar[str] = "detach"
    job: str = attrs.field(validator=_name)


@attrs.frozen
class Ack(Item):
    t: ClassVar[str] = "ack"
    sent: int = attrs.field(validator=_natural)
    feed: int | None = attrs.field(default=None, validator=_natural)


@attrs.frozen
class Resync(Item):
    t: ClassVar[str] = "resync"
    feed: FeedCursor | None = None


@attrs.frozen
class Visible(Item):
    t: ClassVar[str] = "visible"
    visible: bool


@attrs.frozen
class Coalesce(Item):
    """For how long output may wait for more of it; None: as long as the gateway chooses."""

    t: ClassVar[str] = "coalesce"
    ms: int | None = attrs.field(validator=_coalesce)


@attrs.frozen(kw_only=True)
class Submit(Command):
    t: ClassVar[str] = "submit"
    id: str = attrs.field(validator=_command_id)
    job: str = attrs.field(validator=_name)
    arguments: JsonObject = attrs.field(validator=exact)
    key: str = attrs.field(validator=_name)
    thread: str | None = attrs.field(default=None, validator=_name)
    on_busy: str = attrs.field(default="enqueue", validator=one_of(*get_args(OnBusy)))
    at: float | None = attrs.field(default=None, validator=between(0, MAX_INTEGER))
    delay_s: float | None = attrs.field(default=None, validator=between(0, MAX_INTEGER))


@attrs.frozen(kw_only=True)
class Cancel(Command):
    t: ClassVar[str] = "cancel"
    id: str = attrs.field(validator=_command_id)
    job: str | None = attrs.field(default=None, validator=_name)
    key: str | None = attrs.field(default=None, validator=_name)

    def __attrs_post_init__(self) -> None:
        if (self.job is None) == (self.key is None):
            raise OutOfRange("a cancel has exactly one of job and key")


@attrs.frozen(kw_only=True)
class Signal(Command):
    t: ClassVar[str] = "signal"
    id: str = attrs.field(validator=_command_id)
    job: str = attrs.field(validator=_name)
    message: Any = attrs.field(validator=exact)
    key: str = attrs.field(validator=_name)


@attrs.frozen(kw_only=True)
class ListMessages(Command):
    t: ClassVar[str] = "messages"
    id: str = attrs.field(validator=_command_id)
    job: str = attrs.field(validator=_name)
    after: int = attrs.field(default=0, validator=_natural)
    limit: int = attrs.field(default=50, validator=_limit)


@attrs.frozen(kw_only=True)
class Answer(Command):
    t: ClassVar[str] = "answer"
    id: str = attrs.field(validator=_command_id)
    job: str = attrs.field(validator=_name)
    key: str = attrs.field(validator=_name)
    value: Any = attrs.field(validator=exact)


@attrs.frozen(kw_only=True)
class Mark(Command):
    t: ClassVar[str] = "mark"
    id: str = attrs.field(validator=_command_id)
    mark: str = attrs.field(validator=one_of("seen", "read", "archived"))
    ids: tuple[str, ...] | None = attrs.field(default=None, validator=length(0, 500))
    job: str | None = attrs.field(default=None, validator=_name)
    upto: int | None = attrs.field(default=None, validator=_natural)

    def __attrs_post_init__(self) -> None:
        if sum(field is not None for field in (self.ids, self.job, self.upto)) != 1:
            raise OutOfRange("a mark has exactly one of ids, job and upto")


@attrs.frozen(kw_only=True)
class GetJob(Command):
    t: ClassVar[str] = "job"
    id: str = attrs.field(validator=_command_id)
    job: str = attrs.field(validator=_name)


@attrs.frozen(kw_only=True)
class ListJobs(Command):
    t: ClassVar[str] = "jobs"
    id: str = attrs.field(validator=_command_id)
    thread: str | None = attrs.field(default=None, validator=_name)
    before: str | None = attrs.field(default=None, validator=_name)
    limit: int = attrs.field(default=50, validator=_limit)


@attrs.frozen(kw_only=True)
class ListThreads(Command):
    t: ClassVar[str] = "threads"
    id: str = attrs.field(validator=_command_id)
    before: str | None = attrs.field(default=None, validator=_name)
    limit: int = attrs.field(default=50, validator=_limit)


@attrs.frozen(kw_only=True)
class ListNotifications(Command):
    t: ClassVar[str] = "notifications"
    id: str = attrs.field(validator=_command_id)
    before: str | None = attrs.field(default=None, validator=_name)
    limit: int = attrs.field(default=50, validator=_limit)


@attrs.frozen
class Unacceptable(Item):
    """Not on the wire: a client's item whose types are right and whose values are not legal."""

    t: ClassVar[str] = ""
    tag: str
    id: str | None
    message: str


# --- from the server ----------------------------------------------------------------------------


@attrs.frozen(kw_only=True)
class Welcome(Item):
    t: ClassVar[str] = "welcome"
    protocol: int = PROTOCOL_VERSION
    session: str
    user: str
    epoch: str
    now: float
    beat_ms: int
    silence_ms: int
    window: int


@attrs.frozen
class ServerBeat(Item):
    t: ClassVar[str] = "beat"
    now: float


@attrs.frozen
class ErrorBody:
    code: str
    message: str = attrs.field(converter=brief)
    retryable: bool = False


@attrs.frozen
class Reply(Item):
    """Exactly one of ``ok`` and ``error`` is there."""

    t: ClassVar[str] = "reply"
    id: str
    ok: Any = None
    error: ErrorBody | None = None


@attrs.frozen
class Snapshot(Item):
    t: ClassVar[str] = "snapshot"
    epoch: str
    seq: int
    jobs: tuple[JobRow, ...]
    notifications: tuple[NotificationRow, ...]
    counts: Counts


@attrs.frozen
class Feed(Item):
    t: ClassVar[str] = "feed"
    epoch: str
    prev: int
    seq: int
    jobs: tuple[JobRow, ...]
    notifications: tuple[NotificationRow, ...]
    counts: Counts


@attrs.frozen
class Place:
    """A queued job's place: 1 for the next to start."""

    job: str
    place: int


@attrs.frozen
class Queue(Item):
    t: ClassVar[str] = "queue"
    places: tuple[Place, ...]


@attrs.frozen
class Progress(Item):
    t: ClassVar[str] = "progress"
    job: str
    attempt: int
    done: float
    total: float | None = None
    note: str | None = None


@attrs.frozen
class Rewind(Item):
    t: ClassVar[str] = "rewind"
    job: str
    attempt: int
    keep: int


Part = str | tuple[str, str]


@attrs.frozen
class Output(Item):
    t: ClassVar[str] = "output"
    job: str
    attempt: int
    start: int = attrs.field(metadata=wire("from"))
    end: int = attrs.field(metadata=wire("to"))
    parts: tuple[Part, ...]
    sent: int


@attrs.frozen
class OutputEnd(Item):
    t: ClassVar[str] = "output.end"
    job: str
    attempt: int
    entries: int
    sha256: str
    sent: int


@attrs.frozen
class Gone(Item):
    t: ClassVar[str] = "gone"
    job: str
    reason: str


@attrs.frozen
class Fault(Item):
    """Answers an item without ``id`` that could not be carried out."""

    t: ClassVar[str] = "error"
    code: str
    message: str = attrs.field(converter=brief)


CLIENT_ITEMS: tuple[type[Item], ...] = (
    Hello, Beat, Attach, Detach, Ack, Resync, Visible, Coalesce,
    Submit, Cancel, Signal, Answer, Mark, GetJob, ListJobs, ListThreads, ListNotifications, ListMessages,
)  # fmt: skip
