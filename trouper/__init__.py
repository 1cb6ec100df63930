"""trouper: a runtime for background streaming jobs on trio.

The front door: every public name, loaded when it is first asked for (PEP 562), so that importing one
room does not load the others. The rooms, from the ground up (each imports only those before it):

* ``trouper.store``       what is remembered
* ``trouper.actors``      what runs
* ``trouper.supervisor``  what keeps it running
* ``trouper.transport``   how it reaches people
* ``trouper.simulation``  for tests: seeded schedules, virtual time, faults

Beside them, for tests: ``testing``, which has ``run_job``, ``TestProbe`` (of ``probe``) and
``run_behaviour`` (of ``behaviour``).
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from trouper.actors.job_context import JobContext as JobContext
    from trouper.actors.job_errors import AttemptOver as AttemptOver
    from trouper.actors.job_errors import BadState as BadState
    from trouper.actors.job_errors import OutputRefused as OutputRefused
    from trouper.actors.job_errors import OutputTooLarge as OutputTooLarge
    from trouper.actors.job_spec import Again as Again
    from trouper.actors.job_spec import Backoff as Backoff
    from trouper.actors.job_spec import BadArguments as BadArguments
    from trouper.actors.job_spec import Call as Call
    from trouper.actors.job_spec import Fail as Fail
    from trouper.actors.job_spec import JobSpec as JobSpec
    from trouper.actors.job_spec import Retry as Retry
    from trouper.actors.job_spec import job as job
    from trouper.actors.messages import Message as Message
    from trouper.actors.options import ChannelLimits as ChannelLimits
    from trouper.actors.options import JobLimits as JobLimits
    from trouper.actors.output_pieces import End as End
    from trouper.actors.output_pieces import Event as Event
    from trouper.actors.output_pieces import Progress as Progress
    from trouper.actors.output_pieces import Rewind as Rewind
    from trouper.actors.output_pieces import Text as Text
    from trouper.actors.output_pieces import Transcript as Transcript
    from trouper.actors.questions import NoAnswer as NoAnswer
    from trouper.actors.reports import Report as Report
    from trouper.actors.reports import ReportKind as ReportKind
    from trouper.store.completions import Completion as Completion
    from trouper.store.errors import SchemaMismatch as SchemaMismatch
    from trouper.store.errors import StoreCorrupt as StoreCorrupt
    from trouper.store.errors import StoreInUse as StoreInUse
    from trouper.store.errors import StoreRefused as StoreRefused
    from trouper.store.errors import StoreUnavailable as StoreUnavailable
    from trouper.store.errors import TrouperError as TrouperError
    from trouper.store.options import StoreOptions as StoreOptions
    from trouper.store.protocol import CancelAnswer as CancelAnswer
    from trouper.store.protocol import CancelResult as CancelResult
    from trouper.store.questions import AnswerOutcome as AnswerOutcome
    from trouper.store.records import Counts as Counts
    from trouper.store.records import Job as Job
    from trouper.store.records import JobState as JobState
    from trouper.store.records import Notification as Notification
    from trouper.store.seams import Seams as Seams
    from trouper.store.signals import SignalAnswer as SignalAnswer
    from trouper.supervisor.options import RuntimeOptions as RuntimeOptions
    from trouper.supervisor.refusals import Draining as Draining
    from trouper.supervisor.refusals import KeyConflict as KeyConflict
    from trouper.supervisor.refusals import QueueIsFull as QueueIsFull
    from trouper.supervisor.refusals import Refusal as Refusal
    from trouper.supervisor.refusals import SignalsAreFull as SignalsAreFull
    from trouper.supervisor.refusals import ThreadIsBusy as ThreadIsBusy
    from trouper.supervisor.refusals import TooManySessions as TooManySessions
    from trouper.supervisor.refusals import UnknownJob as UnknownJob
    from trouper.supervisor.refusals import UserQueueIsFull as UserQueueIsFull
    from trouper.supervisor.runtime import Runtime as Runtime
    from trouper.supervisor.runtime import open_runtime as open_runtime
    from trouper.transport.auth import Hello as Hello
    from trouper.transport.client import Client as Client
    from trouper.transport.client import connect as connect
    from trouper.transport.client_errors import AttachRefused as AttachRefused
    from trouper.transport.client_errors import ClientError as ClientError
    from trouper.transport.client_errors import ClientStopped as ClientStopped
    from trouper.transport.client_errors import CommandFailed as CommandFailed
    from trouper.transport.client_errors import CommandRefused as CommandRefused
    from trouper.transport.client_errors import MissingLibrary as MissingLibrary
    from trouper.transport.client_errors import OutputCorrupt as OutputCorrupt
    from trouper.transport.client_errors import OutputGone as OutputGone
    from trouper.transport.client_errors import ServerFault as ServerFault
    from trouper.transport.client_options import ClientOptions as ClientOptions
    from trouper.transport.errors import GatewayError as GatewayError
    from trouper.transport.gateway import serve as serve
    from trouper.transport.http import Request as Request
    from trouper.transport.http import Response as Response
    from trouper.transport.options import GatewayOptions as GatewayOptions

_HOMES = {
    "trouper.actors.job_context": ("JobContext",),
    "trouper.actors.job_errors": ("AttemptOver", "BadState", "OutputRefused", "OutputTooLarge"),
    "trouper.actors.job_spec": (
        "Again",
        "Backoff",
        "BadArguments",
        "Call",
        "Fail",
        "JobSpec",
        "Retry",
        "job",
    ),
    "trouper.actors.messages": ("Message",),
    "trouper.actors.options": ("ChannelLimits", "JobLimits"),
    "trouper.actors.output_pieces": ("End", "Event", "Progress", "Rewind", "Text", "Transcript"),
    "trouper.actors.questions": ("NoAnswer",),
    "trouper.actors.reports": ("Report", "ReportKind"),
    "trouper.store.completions": ("Completion",),
    "trouper.store.errors": (
        "SchemaMismatch",
        "StoreCorrupt",
        "StoreInUse",
        "StoreRefused",
        "StoreUnavailable",
        "TrouperError",
    ),
    "trouper.store.options": ("StoreOptions",),
    "trouper.store.protocol": ("CancelAnswer", "CancelResult"),
    "trouper.store.questions": ("AnswerOutcome",),
    "trouper.store.records": ("Counts", "Job", "JobState", "Notification"),
    "trouper.store.seams": ("Seams",),
    "trouper.store.signals": ("SignalAnswer",),
    "trouper.supervisor.options": ("RuntimeOptions",),
    "trouper.supervisor.refusals": (
        "Draining",
        "KeyConflict",
        "QueueIsFull",
        "Refusal",
        "SignalsAreFull",
        "ThreadIsBusy",
        "TooManySessions",
        "UnknownJob",
        "UserQueueIsFull",
    ),
    "trouper.supervisor.runtime": ("Runtime", "open_runtime"),
    "trouper.transport.auth": ("Hello",),
    "trouper.transport.http": ("Request", "Response"),
    "trouper.transport.client": ("Client", "connect"),
    "trouper.transport.client_errors": (
        "AttachRefused",
        "ClientError",
        "ClientStopped",
        "CommandFailed",
        "CommandRefused",
        "MissingLibrary",
        "OutputCorrupt",
        "OutputGone",
        "ServerFault",
    ),
    "trouper.transport.client_options": ("ClientOptions",),
    "trouper.transport.errors": ("GatewayError",),
    "trouper.transport.gateway": ("serve",),
    "trouper.transport.options": ("GatewayOptions",),
}
_HOME_OF = {name: module for module, names in _HOMES.items() for name in names}

__all__ = [
    "Again",
    "AnswerOutcome",
    "AttachRefused",
    "AttemptOver",
    "Backoff",
    "BadArguments",
    "BadState",
    "Call",
    "CancelAnswer",
    "CancelResult",
    "ChannelLimits",
    "Client",
    "ClientError",
    "ClientOptions",
    "ClientStopped",
    "CommandFailed",
    "CommandRefused",
    "Completion",
    "Counts",
    "Draining",
    "End",
    "Event",
    "Fail",
    "GatewayError",
    "GatewayOptions",
    "Hello",
    "Job",
    "JobContext",
    "JobLimits",
    "JobSpec",
    "JobState",
    "KeyConflict",
    "Message",
    "MissingLibrary",
    "NoAnswer",
    "Notification",
    "OutputCorrupt",
    "OutputGone",
    "OutputRefused",
    "OutputTooLarge",
    "Progress",
    "QueueIsFull",
    "Refusal",
    "Report",
    "ReportKind",
    "Request",
    "Response",
    "Retry",
    "Rewind",
    "Runtime",
    "RuntimeOptions",
    "SchemaMismatch",
    "Seams",
    "ServerFault",
    "SignalAnswer",
    "SignalsAreFull",
    "StoreCorrupt",
    "StoreInUse",
    "StoreOptions",
    "StoreRefused",
    "StoreUnavailable",
    "Text",
    "ThreadIsBusy",
    "TooManySessions",
    "Transcript",
    "TrouperError",
    "UnknownJob",
    "UserQueueIsFull",
    "connect",
    "job",
    "open_runtime",
    "serve",
]


def __getattr__(name: str) -> Any:
    module = _HOME_OF.get(name)
    if module is None:
        raise AttributeError(f"module 'trouper' has no attribute {name!r}")
    value = getattr(import_module(module), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOME_OF})
