"""Waiting for a store that is down, which is an outage and no crash (E1); and the hash of a log, read so."""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable
from functools import partial
from typing import TypeVar

import trio

from trouper.store.errors import StoreCorrupt, StoreUnavailable
from trouper.store.output_log import OutputHash
from trouper.store.protocol import Store

T = TypeVar("T")

_HASH_PAGE_BYTES = 256 * 1024


async def patiently(call: Callable[[], Awaitable[T]], tries: float = math.inf) -> T:
    """The result of ``call``, again and again while the store is down; after ``tries`` its error."""
    pause_s = 0.1
    while True:
        try:
            return await call()
        except StoreUnavailable:
            tries -= 1
            if tries <= 0:
                raise
            await trio.sleep(pause_s)
            pause_s = min(2 * pause_s, 2.0)


async def hash_log(store: Store, job_id: str, entries: int) -> OutputHash:
    """The hash over the first ``entries`` entries of a log; waits while the store is down.

    Raises ``StoreCorrupt`` if they cannot be read.
    """
    hasher = OutputHash()
    start = 0
    while start < entries:
        page = await patiently(partial(store.read_output, job_id, start, _HASH_PAGE_BYTES))
        if page is None or not page.entries:
            raise StoreCorrupt(f"the output of job {job_id} ends at entry {start}, not at {entries}")
        for entry in page.entries[: entries - start]:
            hasher.update(entry)
        start += len(page.entries)
    return hasher
