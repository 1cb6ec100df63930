"""Nodes: runtimes that share one store, in one process, each with its own clocks and line to the store."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import attrs
import trio

import trouper
from tests.store.shared_memory import SharedMemory, SharedMemoryStore
from trouper.actors.reports import ReportKind
from trouper.store.leases import Lease
from trouper.store.seams import Seams

LEASE = Lease(seconds=30.0, margin_s=10.0)


@attrs.define
class Node:
    """One of the runtimes, its line to the store, and its wall clock."""

    name: str
    runtime: Any = None
    store: Any = None
    wall_off_s: float = 0.0
    reports: list[trouper.Report] = attrs.field(factory=list)

    def told(self, kind: ReportKind) -> list[str]:
        return [report.reason for report in self.reports if report.kind is kind]


@asynccontextmanager
async def node_of(
    shared: SharedMemory, name: str, *jobs: Any, late_s: float = 0.0, **options: Any
) -> AsyncIterator[Node]:
    """A node whose monotonic clock began ``late_s`` seconds before the other's."""
    node = Node(name)
    ids = iter(range(10**6))

    def make(seams: Seams, store_options: trouper.StoreOptions) -> SharedMemoryStore:
        node.store = shared.node(seams, store_options)
        return node.store  # type: ignore[no-any-return]

    seams = Seams(
        now=lambda: trio.current_time() + late_s,
        wall=lambda: 1e6 + trio.current_time() + node.wall_off_s,
        new_id=lambda: f"{name}{next(ids)}",
    )
    async with trouper.open_runtime(
        make,
        jobs=jobs,
        seams=seams,
        options=trouper.RuntimeOptions(**options),
        on_report=node.reports.append,
    ) as node.runtime:
        yield node
