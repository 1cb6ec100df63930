"""Items as a gateway sends them, and cores that have got somewhere, for the tests of the client."""

from __future__ import annotations

from typing import Any

import orjson

from trouper.actors.output_pieces import OutputPiece
from trouper.transport.client_clock import ServerClock
from trouper.transport.client_core import ClientCore
from trouper.transport.client_options import ClientOptions
from trouper.transport.client_output import OutputState
from trouper.transport.hashing import LogHash

Item = dict[str, Any]

CLOCK = ServerClock(lambda: 0.0, lambda: 0.0)
"""Of tests in which nobody asks for the time."""


def loads(message: str | bytes) -> list[Item]:
    items: list[Item] = orjson.loads(message)
    return items


def welcome(epoch: str = "e1", *, window: int = 262144, silence_ms: int = 35000, session: str = "s1") -> Item:
    return {
        "t": "welcome",
        "protocol": 1,
        "session": session,
        "user": "ada",
        "epoch": epoch,
        "beat_ms": 25000,
        "silence_ms": silence_ms,
        "window": window,
    }


def job(id: str = "j1", *, state: str = "running", seq: int = 1, **fields: Any) -> Item:
    return {
        "id": id,
        "name": "echo",
        "thread": None,
        "state": state,
        "reason": None,
        "attempt": 1,
        "entries": 0,
        "created_at": 1.0,
        "started_at": None,
        "ended_at": None,
        "error": None,
        "cancel_requested": False,
        "seq": seq,
        "saved_entries": 0,
        **fields,
    }


def notification(id: str = "n1", *, seq: int = 1, **fields: Any) -> Item:
    return {
        "id": id,
        "job": "j1",
        "thread": None,
        "kind": "ended",
        "key": "",
        "title": "echo completed",
        "body": "",
        "created_at": 9.0,
        "seen": False,
        "read": False,
        "archived": False,
        "seq": seq,
        **fields,
    }


def counts(unseen: int = 0, unread: int = 0) -> Item:
    return {"unseen": unseen, "unread": unread}


def snapshot(
    seq: int = 0, *, epoch: str = "e1", jobs: tuple[Item, ...] = (), notes: tuple[Item, ...] = ()
) -> Item:
    return {
        "t": "snapshot",
        "epoch": epoch,
        "seq": seq,
        "jobs": list(jobs),
        "notifications": list(notes),
        "counts": counts(len(notes), len(notes)),
    }


def feed(
    prev: int, seq: int, *, epoch: str = "e1", jobs: tuple[Item, ...] = (), notes: tuple[Item, ...] = ()
) -> Item:
    rows = snapshot(seq, epoch=epoch, jobs=jobs, notes=notes)
    return {**rows, "t": "feed", "prev": prev}


def output(attempt: int, start: int, stop: int, parts: list[Any], sent: int, *, id: str = "j1") -> Item:
    return {
        "t": "output",
        "job": id,
        "attempt": attempt,
        "from": start,
        "to": stop,
        "parts": parts,
        "sent": sent,
    }


def rewind(attempt: int, keep: int, *, id: str = "j1") -> Item:
    return {"t": "rewind", "job": id, "attempt": attempt, "keep": keep}


def end(attempt: int, entries: int, sha256: str, sent: int, *, id: str = "j1") -> Item:
    return {
        "t": "output.end",
        "job": id,
        "attempt": attempt,
        "entries": entries,
        "sha256": sha256,
        "sent": sent,
    }


def sha256(*parts: str | tuple[str, str]) -> str:
    digest = LogHash()
    for part in parts:
        digest.update(part)
    return digest.hexdigest()


# --- cores that have got somewhere ----


def make_core(**options: Any) -> ClientCore:
    """A core whose jitter draws the ceiling."""
    return ClientCore(options=ClientOptions(**options), uniform=lambda low, high: high, clock=CLOCK)


def connected(core: ClientCore | None = None, *items: Item, **options: Any) -> ClientCore:
    core = core or make_core(**options)
    core.opened()
    core.take()
    core.received([welcome(), *(items or (snapshot(),))])
    core.take()
    return core


def drain(core: ClientCore, output: OutputState) -> list[OutputPiece]:
    items = []
    while (item := core.read(output)) is not None:
        items.append(item)
    return items


def watching(attempt: int = 1, n: int = 0, **options: Any) -> tuple[ClientCore, OutputState]:
    core = connected(**options)
    watched = core.open_output("j1", attempt, n)
    core.take()
    return core, watched


def kinds(items: list[dict[str, Any]]) -> list[str]:
    return [item["t"] for item in items]
