"""What a job function holds: ``ctx``. Everything it does to the world that watches goes through it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any

import orjson
import trio

from trouper.actors.attempt import Attempt
from trouper.actors.job_errors import BadState, OutputRefused
from trouper.actors.json_text import JSON_DEPTH_MAX, encode_json, too_deep
from trouper.actors.messages import Message
from trouper.actors.questions import make_ask
from trouper.store.output_log import split_text


def to_json(value: object, what: str) -> str:
    """JSON text of ``value``. Raises ``BadState`` naming ``what`` if it has none."""
    try:
        encoded = encode_json(value)
    except TypeError as error:
        raise BadState(f"{what} is not JSON: {error}") from None
    if too_deep(orjson.loads(encoded)):
        raise BadState(f"{what} is nested too deep: legal are {JSON_DEPTH_MAX} levels")
    return encoded.decode()


class Messages:
    """The messages to a job, in order, as they are committed: ``async for message in ctx.messages``.

    It never ends by itself. What was read before the last savepoint is not given again to a later attempt;
    what was read after it is.
    """

    def __init__(self, attempt: Attempt) -> None:
        self._attempt = attempt

    @property
    def pending(self) -> int:
        """How many can be read without waiting for somebody to send one."""
        return max(0, self._attempt.bell.signals - self._attempt.heard)

    def __aiter__(self) -> Messages:
        return self

    async def __anext__(self) -> Message:
        """The next one, as soon as it is there. Always a checkpoint. **Cancellation**: none was read."""
        return await self._attempt.next_message()


class JobContext:
    """The context of one attempt. Made by the runtime; the attempt ends when the function does.

    **Cancellation**: a stop by a user, a time-out or a node that stops arrives as trio's
    ``Cancelled`` at the next checkpoint. What was written before is kept and shown, up to the cut of a
    later attempt.
    """

    def __init__(self, attempt: Attempt) -> None:
        self._attempt = attempt
        self._messages = Messages(attempt)
        self._fault = attempt.ports.seams.fault
        self._site = f"ctx.call.{attempt.job.attempt}"

    @property
    def job_id(self) -> str:
        """The job's id, the same in all attempts."""
        return self._attempt.job.id

    @property
    def user(self) -> str:
        """Whose job it is."""
        return self._attempt.job.user

    @property
    def thread(self) -> str | None:
        """The conversation or page that the job belongs to; None if it was submitted without."""
        return self._attempt.job.thread

    @property
    def attempt(self) -> int:
        """The number of this attempt, from 1."""
        return self._attempt.job.attempt

    @property
    def saved(self) -> Any:
        """The state of the last savepoint, decoded; None if there is none."""
        saved = self._attempt.job.saved
        return None if saved is None else orjson.loads(saved)

    @property
    def messages(self) -> Messages:
        """What ``runtime.signal`` and clients sent to this job: ``Message`` after ``Message``."""
        return self._messages

    def _called(self) -> None:
        self._fault(self._site)

    async def write(self, text: str) -> None:
        """Append text to the output.

        Watchers see it once it is committed, not before. Returns at once unless the store is behind
        by ``pending_bytes``. Raises ``OutputRefused`` (a lone surrogate; nothing is written) and
        ``OutputTooLarge``. **Cancellation**: the text is in the output all the same.
        """
        self._fault(self._site)
        if not isinstance(text, str):
            raise OutputRefused(f"write takes text, got {type(text).__name__}")
        try:
            pieces = split_text(text)
        except ValueError as error:
            raise OutputRefused(str(error)) from None
        await self._attempt.append(pieces)

    async def emit(self, name: str, data: object = None) -> None:
        """Append a named event with JSON data (together up to 16 KiB). As ``write`` otherwise.

        **Cancellation**: the event is in the output all the same.
        """
        self._called()
        try:
            encoded = encode_json(data).decode()
            name.encode()
        except (TypeError, AttributeError, UnicodeEncodeError) as error:
            raise OutputRefused(f"event {name!r} is not JSON: {error}") from None
        # Decoded only where it may be: events are many, and few have so many brackets.
        if encoded.count("{") + encoded.count("[") > JSON_DEPTH_MAX and too_deep(orjson.loads(encoded)):
            raise OutputRefused(f"event {name!r} is nested too deep: legal are {JSON_DEPTH_MAX} levels")
        size = self._attempt.check_event(name, encoded)
        await self._attempt.append([((name, encoded), size)])

    async def progress(self, done: float, total: float | None = None, note: str | None = None) -> None:
        """Tell how far the job is, to those who watch: only the latest, and it is not stored.

        ``done`` and ``total`` in whatever unit, up to 2^53. Raises ``BadState``. Always a checkpoint.
        **Cancellation**: it is told all the same.
        """
        self._called()
        self._attempt.progress(done, total, note)
        await trio.lowlevel.checkpoint()

    async def savepoint(self, state: object) -> None:
        """Commit all output so far together with ``state`` (JSON, up to ``saved_bytes``).

        The next attempt finds the state in ``ctx.saved`` and its output cut to here. Raises
        ``BadState``. **Cancellation**: the savepoint may or may not have been made.
        """
        self._called()
        await self._attempt.savepoint(to_json(state, "the state to save"))

    async def notify(self, *, key: str, title: str, body: str = "") -> None:
        """Leave a notification for the user, once per ``key`` over all attempts. Raises ``BadState``.

        **Cancellation**: it may have been left; asked for again with its key it is still one.
        """
        self._called()
        if not 1 <= len(key) <= 200:
            raise BadState(f"notification key {key!r:.40} has {len(key)}: legal are 1 to 200 characters")
        for text in (key, title, body):
            to_json(text, f"a text of notification {key!r}")
        await self._attempt.notify(key, title, body)

    async def ask_user(
        self,
        question: str,
        *,
        choices: Sequence[str] | None = None,
        schema: Mapping[str, Any] | None = None,
        timeout: float | None = None,  # noqa: ASYNC109  # by the wall clock, and over restarts
        key: str | None = None,
    ) -> Any:
        """Ask a person, and give the answer, decoded from JSON.

        The first time, this does not return: the attempt ends, the job waits in the queue (no task, no
        place of those that run, its thread held), and the question is shown to its user. When the answer has
        come, the next attempt begins at its savepoint: save before you ask. Its call with the same ``key``
        gives the answer at once, and so it does in every later attempt.

        * ``choices``: texts of which one is the answer; or
        * ``schema``: JSON Schema of the answer (a part of it: ``type``, ``enum``, ``properties``,
          ``required``, ``items``, lengths and limits); by default a text.
        * ``timeout``: seconds by the wall clock; then the next attempt begins without an answer, and the call
          raises ``NoAnswer``.
        * ``key``: which question it is, within the job; by default its text (above 200 characters: as much as
          fits, and a hash).

        Raises ``BadState`` for what cannot be asked, and inside of an unsafe step. **Cancellation**: clean-up
        code runs as at every stop, within ``grace_s``.
        """
        self._called()
        ask = make_ask(
            question,
            choices=choices,
            schema=schema,
            timeout=timeout,
            key=key,
            bytes_max=self._attempt.limits.question_bytes,
        )
        return orjson.loads(await self._attempt.ask(ask))

    @asynccontextmanager
    async def unsafe(self, step: str) -> AsyncIterator[None]:
        """Declare a step that must not be repeated once begun: ``async with ctx.unsafe("charge card")``.

        It is safe when there is a savepoint behind it, made as the last act inside of the block, or at any
        time after it. Until then no attempt follows this one. If the process dies, or stops, before that, or
        an exception leaves the block, nobody knows how far the step came, and the job ends ``lost``, naming
        it; if the function raises, or is idle for too long, after the block, it ends ``failed`` or
        ``timed_out`` without being retried. A job that is cancelled or out of time ends as that, however far
        the step came. A release waits for the savepoint. Steps do not nest. Raises ``BadState``.
        """
        self._called()
        if self._attempt.step.under_way:
            raise BadState(
                f"step {step!r} inside of step {self._attempt.step.name!r}: unsafe steps do not nest"
            )
        if not 1 <= len(step) <= 100:
            raise BadState(f"unsafe step {step!r:.40} has {len(step)}: legal are 1 to 100 characters")
        to_json(step, "the name of an unsafe step")
        await self._attempt.step.begin(step)
        yield
        # Not in a finally: after an exception nobody knows how far the step came. Not shielded either:
        # a step that ended but could not be recorded counts as under way, which is the safe side.
        await self._attempt.step.end()
