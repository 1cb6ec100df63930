"""An actor ref whose messages a test reads, as Akka's ``TestProbe``: to be handed to what is tested.

    probe: TestProbe[str] = TestProbe()
    ledger.tell(Subscribe(probe.ref))
    await probe.expect("hello")

Nothing runs behind it. The test's own task takes the messages out of an ordinary mailbox, so what a probe
sees is what an actor would see, and every wait is on trio's clock: with a ``MockClock`` that jumps by
itself a silence of an hour takes no time.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from functools import partial
from typing import Any, Final, Generic, TypeVar

import trio

from trouper.actors.ask import ReplySlot
from trouper.actors.envelope import Envelope
from trouper.actors.errors import ActorStopped, NothingToReply
from trouper.actors.mailbox import Mailbox
from trouper.actors.ref import ActorRef
from trouper.actors.signals import Inspect, Lagged, Stop, StopReason, Terminated

M = TypeVar("M")
N = TypeVar("N")

SILENCE_S: Final = 0.1
"""For how long ``expect_no_message`` listens unless it is told."""


class _End:
    """The end of one actor that is watched, once it has come."""

    def __init__(self) -> None:
        self._come = trio.Event()
        self._terminated: Terminated | None = None

    def tell(self, terminated: Terminated) -> None:
        if self._terminated is None:
            self._terminated = terminated
            self._come.set()

    async def wait(self) -> Terminated:
        await self._come.wait()
        assert self._terminated is not None
        return self._terminated


class TestProbe(Generic[M]):
    """A ref for the actors under test, and what they sent to it.

    ``within_s``: how long an expectation waits unless it says so itself. ``mailbox``: another than one of
    1,024 messages whose senders wait. One task at a time may expect something.

    All expectations raise ``AssertionError``, which tells what was expected and what came.

    **Cancellation**: of an expectation that is cancelled while it waits, nothing was taken but what it had
    skipped. **Resources**: none but what it watches, until ``stop``.
    """

    __test__ = False  # its name would have pytest collect it

    def __init__(
        self, name: str = "probe", *, within_s: float = 3.0, mailbox: Mailbox[M] | None = None
    ) -> None:
        self._mailbox: Mailbox[M] = Mailbox() if mailbox is None else mailbox
        self.ref: ActorRef[M] = ActorRef(name, self._mailbox)
        """What the actors under test are given."""
        self.within_s = within_s
        self._watched: dict[ActorRef[Any], Mailbox[Any]] = {}
        self._ends: dict[ActorRef[Any], _End] = {}
        self._request: Envelope[Any] | None = None
        self._left: deque[M] = deque()  # what came before the stop, at most what the mailbox held

    # -- messages ----------------------------------------------------------------------------------

    async def receive_one(self, *, within_s: float | None = None) -> M:
        """The next message, or a ``Lagged`` where the mailbox dropped some."""
        return await self._next("a message", within_s)

    async def receive(self, n: int, *, within_s: float | None = None) -> list[M]:
        """The next ``n`` messages; ``within_s`` is for all of them together."""
        deadline = self._deadline(within_s)
        got: list[M] = []
        while len(got) < n:
            got.append(await self._next(f"{n} messages, of which {got!r} came", within_s, deadline))
        return got

    async def expect(self, message: M, *, within_s: float | None = None) -> M:
        """The next message must equal ``message``. Returns: the one that came."""
        got = await self._next(repr(message), within_s)
        if got != message:
            raise self._failure(f"expected {message!r}, but {got!r} came")
        return got

    async def expect_type(self, cls: type[N], *, within_s: float | None = None) -> N:
        """The next message must be an instance of ``cls``. Returns: it."""
        got: object = await self._next(f"a {cls.__name__}", within_s)
        if not isinstance(got, cls):
            raise self._failure(f"expected a {cls.__name__}, but {got!r} came")
        return got

    async def fish(self, predicate: Callable[[M], bool], *, within_s: float | None = None) -> M:
        """Skip messages until ``predicate`` is true of one. Returns: that one."""
        deadline = self._deadline(within_s)
        skipped: list[M] = []
        while True:
            got = await self._next(f"the one fished for, {skipped!r} was skipped", within_s, deadline)
            if predicate(got):
                return got
            skipped.append(got)

    async def expect_no_message(self, within_s: float = SILENCE_S) -> None:
        """No message must come for ``within_s`` seconds, and none wait already."""
        with trio.move_on_after(within_s):
            got = await self._take_message()
            raise self._failure(f"expected no message within {within_s} s, but {got!r} came")

    # -- answers -----------------------------------------------------------------------------------

    def reply(self, value: object) -> bool:
        """Answer the last ``Request`` that was received. Returns: whether somebody still waited for it.

        Raises: ``NothingToReply`` if there was none, or if it is answered.
        """
        return self._open_request().succeed(value)

    def reply_error(self, error: Exception) -> bool:
        """Make the ``ask`` of the last ``Request`` raise ``error``. Otherwise as ``reply``."""
        return self._open_request().fail(error)

    # -- ends --------------------------------------------------------------------------------------

    def watch(self, ref: ActorRef[Any]) -> None:
        """Have ``expect_terminated`` hear of the end of ``ref``, also if it has ended already."""
        if ref in self._ends:
            return
        self._ends[ref] = _End()
        target = ref._mailbox_if_active()
        if target is None:  # the ref of a key that has no actor
            self._ended(ref, StopReason.STOPPED, None)
        else:
            self._watched[ref] = target
            target.add_watcher(self, partial(self._ended, ref))

    def unwatch(self, ref: ActorRef[Any]) -> None:
        """Hear no more of it."""
        self._ends.pop(ref, None)
        if (target := self._watched.pop(ref, None)) is not None:
            target.remove_watcher(self)

    async def expect_terminated(self, ref: ActorRef[Any], *, within_s: float | None = None) -> Terminated:
        """``ref``, which is watched, must have ended for good, or end. Messages stay where they are.

        Returns: why it ended, and what it crashed of. Raises: ``ValueError`` if it is not watched.
        """
        if ref not in self._ends:
            raise ValueError(f"probe {self.ref.name!r} does not watch {ref!r}: call watch() first")
        with trio.move_on_at(self._deadline(within_s)):
            return await self._ends[ref].wait()
        raise self._failure(f"expected {ref!r} to end within {self._limit(within_s)} s")

    def stop(self, reason: StopReason = StopReason.STOPPED) -> None:
        """End for good: the ref is dead from now on, and who watches it is told ``reason``. Askers that
        wait, the one last received included, get ``ActorStopped``. What came before can still be
        received. Again changes nothing."""

        def error() -> ActorStopped:
            return ActorStopped(f"{self.ref.name!r} has ended: {reason.value}")

        while (item := self._mailbox.take()) is not None:
            if isinstance(item, Envelope):
                self._mailbox.handled(item)
                self._left.append(item.message)
                self._fail_request(item, error())
        request, self._request = self._request, None
        self._fail_request(request, error())
        for watched in list(self._watched):
            self.unwatch(watched)
        self._mailbox.close(reason, error)

    # -- taking ------------------------------------------------------------------------------------

    async def _next(self, expected: str, within_s: float | None, deadline: float | None = None) -> M:
        with trio.move_on_at(self._deadline(within_s) if deadline is None else deadline):
            return await self._take_message()
        raise self._failure(f"expected {expected}, but no other came within {self._limit(within_s)} s")

    async def _take_message(self) -> M:
        if self._left:
            await trio.lowlevel.checkpoint()
            return self._left.popleft()
        while True:
            item = await self._mailbox.get()
            if isinstance(item, Envelope):
                message: M = item.message
                self._mailbox.handled(item)
                if item.slot is not None:
                    item.slot.taken = True
                    self._request = item
                return message
            if isinstance(item, Lagged):
                return item  # type: ignore[return-value]  # as in the stream of a function actor
            self._obey(item)

    def _obey(self, item: object) -> None:
        match item:
            case Stop(reason):
                self.stop(reason)
                raise self._failure(f"expected a message, but {self.ref!r} was asked to stop")
            case Inspect(_, slot):
                slot.fail(
                    NotImplementedError(f"{self.ref.name!r} is a probe: there is no actor to look into")
                )

    @staticmethod
    def _fail_request(request: Envelope[Any] | None, error: Exception) -> None:
        if request is not None and request.slot is not None:
            request.slot.fail(error)

    def _ended(self, ref: ActorRef[Any], reason: StopReason, crash: str | None) -> None:
        self._watched.pop(ref, None)
        self._ends.setdefault(ref, _End()).tell(Terminated(ref, reason, crash))

    def _limit(self, within_s: float | None) -> float:
        return self.within_s if within_s is None else within_s

    def _deadline(self, within_s: float | None) -> float:
        return trio.current_time() + self._limit(within_s)

    def _open_request(self) -> ReplySlot[Any]:
        request = self._request
        if request is None or request.slot is None:
            raise NothingToReply(f"{self.ref.name!r} has received no Request that is not answered yet")
        self._request = None
        return request.slot

    def _failure(self, what: str) -> AssertionError:
        return AssertionError(f"probe {self.ref.name!r}: {what}")
