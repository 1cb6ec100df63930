"""Whose what runs is: the boots of a store, their leases where several nodes share one, and what of all that
was ever begun."""

from __future__ import annotations

from collections.abc import Collection
from typing import Protocol

import attrs


def _below_seconds(instance: Lease, attribute: attrs.Attribute[float], value: float) -> None:
    if not 0 < value < instance.seconds:
        raise ValueError(f"margin_s={value!r}: legal are seconds above 0 and below the lease's own")


@attrs.frozen(kw_only=True)
class Lease:
    """How long what a node claimed is its own, on a store that several nodes share.

    A node holds one lease, not one for each job: that of its boot. The store counts it by its own clock,
    from the renewal on; the node by its monotonic clock, from before it asked, and ends ``margin_s``
    earlier. So a node that is cut off has let go before another one may claim.
    """

    seconds: float = 30.0
    """How long a boot is live after it was last renewed."""
    margin_s: float = attrs.field(default=10.0, validator=_below_seconds)
    """How long before that end the node stops its attempts by itself: what clocks may drift apart
    within a lease, and what a task may take from its cancellation to its last call."""


@attrs.frozen
class Begun:
    """What a process has begun of all that it claimed: told with its next claim if one was not answered,
    which may have been committed all the same. What else the store has as claimed under the process's boots
    was never begun, and is given back as if it had not been claimed: it cost no attempt and no try."""

    boots: Collection[int]
    """The boots under which the process has claimed since it was last sure of it."""
    of: Collection[tuple[str, int]]
    """(job id, attempt) of what runs, or try of a hook, so far as its end was not recorded yet."""


@attrs.frozen
class Renewed:
    boot: int
    """The boot that is live now: the same, or a new one."""
    anew: bool
    """The boot before it is dead: others may have claimed what ran under it."""


class LeasedStore(Protocol):
    """The part of ``Store`` that says whose a running attempt is.

    A store whose ``lease`` is None has one owner at a time (SQLite by the lock on its file, memory by
    being one process's): what runs under another boot is orphaned at once, nothing times out, and
    ``renew`` has nothing to do.

    On a *shared* store a boot is live from its start or its last ``renew`` for ``lease.seconds``, by the
    store's clock, which is also the clock of all times in rows (``run_at``, ``created_at`` …): whatever a
    node's wall clock shows decides nothing. What a dead boot left running is orphaned. A dead boot
    claims nothing and every write of its attempts is refused (``FENCED``), also before somebody has
    claimed them; it stays dead, and ``renew`` begins another.
    """

    @property
    def boot(self) -> int:
        """Of this start; on a shared store of the last ``renew`` that began a new one."""
        ...

    @property
    def lease(self) -> Lease | None:
        """None: the store has one owner at a time, whose claims never time out."""
        ...

    async def renew(self, *, anew: bool = False) -> Renewed:
        """Prolong this boot's lease. If it has expired, or with ``anew`` (the node has stopped its attempts
        by itself and wants none of them back), a new boot begins, with a lease of its own."""
        ...
