"""Children that note what happens to them, and can be told to fail."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import trio

from trouper.actors.reports import Report, ReportKind
from trouper.supervisor.base import BaseSupervisor
from trouper.supervisor.child_spec import ChildContext, ChildSpec


class Stage:
    """What happened, in order, and the levers of each child."""

    def __init__(self) -> None:
        self.log: list[str] = []
        self.reports: list[Report] = []
        self.contexts: dict[str, ChildContext] = {}
        self._levers: dict[str, trio.Event] = {}
        self._orders: dict[str, BaseException | None] = {}

    def report(self, report: Report) -> None:
        self.reports.append(report)

    def kinds(self) -> list[tuple[ReportKind, str | None]]:
        return [(report.kind, report.child) for report in self.reports]

    def fail(self, name: str, error: BaseException | None = None) -> None:
        """Let the child end, by ``error`` or by itself."""
        self._orders[name] = error
        self._levers[name].set()

    def child(
        self,
        name: str,
        *,
        on_start: Callable[[int], None] = lambda incarnation: None,
        acknowledges: bool = True,
        heeds: bool = True,
        stop_takes_s: float = 0.0,
        cancel_takes_s: float = 0.0,
        **fields: object,
    ) -> ChildSpec:
        """A child that runs until it is asked to stop, unless it does not ``heed``, or fails."""

        async def start(context: ChildContext) -> None:
            self.log.append(f"{name}+")
            self.contexts[name] = context
            lever = self._levers[name] = trio.Event()
            try:
                on_start(context.incarnation)
                if acknowledges:
                    context.started()
                async with trio.open_nursery() as nursery:
                    if heeds:
                        nursery.start_soon(self._heed, context, stop_takes_s, nursery.cancel_scope)
                    await lever.wait()
                    nursery.cancel_scope.cancel()
                if lever.is_set() and (error := self._orders.pop(name)) is not None:
                    raise error
            finally:
                if cancel_takes_s:
                    with trio.CancelScope(shield=True):
                        await trio.sleep(cancel_takes_s)
                self.log.append(f"{name}-")

        return ChildSpec(name, start, **fields)  # type: ignore[arg-type]  # the fields of the tests are right

    @staticmethod
    async def _heed(context: ChildContext, stop_takes_s: float, scope: trio.CancelScope) -> None:
        await context.stopping.wait()
        await trio.sleep(stop_takes_s)
        scope.cancel()


@asynccontextmanager
async def running(supervisor: BaseSupervisor) -> AsyncIterator[BaseSupervisor]:
    """The supervisor while it runs; stopped in order at the end."""
    async with trio.open_nursery() as nursery:
        await nursery.start(supervisor.run)
        yield supervisor
        supervisor.stop()
