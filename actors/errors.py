"""What can go wrong between actors.

    TrouperError
    └── ActorError
        ├── AskTimeout            no answer within the time that the asker gave
        ├── ActorStopped          the actor has ended; it will not handle this message
        ├── ActorCrashed          it crashed while it handled this request
        │   └── ActorQuarantined  it crashed too often and is not started for a while
        ├── AskCycle              the answer would have to wait for the asker itself
        ├── MailboxFull           no room, and the mailbox is not of the waiting kind
        ├── NoReply               the handler returned without ``context.reply``
        ├── NothingToReply        ``context.reply`` without an open request
        ├── LimitReached          too many timers, stashed messages, watches … of one actor
        ├── KeyTaken              a registry has another actor for this key
        ├── NoSpawner             it has no supervisor that could start children for it
        ├── LinkedActorEnded      an actor that this one is linked to ended badly, so this one crashes too
        └── InspectionTimeout     the actor did not come to an inspection in time

Each is raised to the *caller*. The crash of an actor itself goes to its supervisor, as it was raised.
"""

from __future__ import annotations

from trouper.store.errors import TrouperError


class ActorError(TrouperError):
    """The base of what actors raise to those who talk to them."""


class AskTimeout(ActorError):
    """The answer did not come in time; the message says whether the request was being handled."""

    inherited = False
    """The time was up for the request that the asker was itself handling, so nobody wants that any more."""


class ActorStopped(ActorError):
    """The actor has ended, so the message was not, or not wholly, handled."""


class ActorCrashed(ActorError):
    """The actor crashed while it handled this request, which is not handed out again."""


class ActorQuarantined(ActorCrashed):
    """The actor of this key crashed too often; it is not started again for a while."""


class MailboxFull(ActorError):
    """The mailbox has no room, and its overflow rule does not let senders wait."""


class NoReply(ActorError):
    """The handler of a request returned without ``context.reply``."""


class NothingToReply(ActorError):
    """``context.reply`` was called while no request was open: a plain message, or answered already."""


class AskCycle(ActorError):
    """The one asked waits, in its handler, for the one who asks: neither could ever go on. Names them all."""


class LimitReached(ActorError):
    """An actor has as many timers, stashed messages, watches … as one may have."""


class KeyTaken(ActorError):
    """A registry whose keys are unique has another actor for this one."""


class NoSpawner(ActorError):
    """``context.spawn`` in an actor that is run without a supervisor, or not running."""


class LinkedActorEnded(ActorError):
    """An actor that this one is linked to crashed or was cancelled. Raised in this one, as its crash."""


class InspectionTimeout(ActorError):
    """The actor did not come to the inspection in time: its handler is busy, or it is not running."""
