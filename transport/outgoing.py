"""What a session sends, as JSON. What cannot be written spoils nothing beside it.

A job may say what JSON has no word for, and however it came here, a session must not end of it: it
would end again each time that it came back. So each item is written by itself, and of a bad one goes
what can: a feed without the row, an output as gone, a reply as an error. Nothing else of it is lost.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

import attrs

from trouper.actors.channel_items import ChannelItem, FeedChanges, FeedSnapshot, OutputItem
from trouper.transport import messages
from trouper.transport.codec import encode_item, encode_output, encode_row
from trouper.transport.codes import ErrorCode
from trouper.transport.messages import Item
from trouper.transport.views import channel_item

OnFault = Callable[[str, Exception], None]
"""Told what could not be sent, and why."""


class Outgoing:
    """The items of one session. ``on_fault`` is told of each reply, and once of each type of the
    channel's items: what a job says wrongly it says often."""

    def __init__(self, on_fault: OnFault) -> None:
        self._on_fault = on_fault
        self._told: frozenset[str] = frozenset()  # bounded: there are seven types

    def reply(self, item: Item) -> bytes:
        """A reply or what goes in its place in the line; a reply that cannot be written is an error."""
        try:
            return encode_item(item)
        except Exception as error:
            if not isinstance(item, messages.Reply):
                raise
            self._on_fault("a command's reply", error)
            message = "the answer cannot be written as JSON; it was reported there"
            # Not retryable: what is stored would be as bad the next time.
            return encode_item(messages.Reply(item.id, error=messages.ErrorBody(ErrorCode.INTERNAL, message)))

    def channel_items(self, items: Iterable[ChannelItem], detach: Callable[[str], None]) -> list[bytes]:
        """The items that can be written, in order. ``detach`` is called for an output that is given up."""
        parts: list[bytes] = []
        given_up: set[str] = set()
        for item in items:
            if given_up and getattr(item, "job_id", None) in given_up:
                continue
            try:
                if isinstance(item, OutputItem):
                    parts.append(encode_output(item))
                else:
                    parts.append(encode_item(channel_item(item)))
            except Exception as error:
                self._tell(item, error)
                if isinstance(item, OutputItem):
                    # Left out, it would be a gap, and asked for again and again.
                    given_up.add(item.job_id)
                    detach(item.job_id)
                    parts.append(encode_item(messages.Gone(item.job_id, ErrorCode.INTERNAL)))
                elif isinstance(item, FeedChanges | FeedSnapshot):
                    parts.append(encode_item(_without_bad_rows(item)))
        return parts

    def _tell(self, item: ChannelItem, error: Exception) -> None:
        kind = type(item).__name__
        if kind not in self._told:
            self._told |= {kind}
            self._on_fault(f"an item of a session ({kind})", error)


def _without_bad_rows(item: FeedChanges | FeedSnapshot) -> Item:
    feed = channel_item(item)
    assert isinstance(feed, messages.Feed | messages.Snapshot)
    return attrs.evolve(
        feed,
        jobs=tuple(filter(_can_be_written, feed.jobs)),
        notifications=tuple(filter(_can_be_written, feed.notifications)),
    )


def _can_be_written(row: object) -> bool:
    try:
        encode_row(row)
    except Exception:
        return False
    return True
