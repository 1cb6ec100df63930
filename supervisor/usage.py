"""What a runtime uses of each of its bounds: what ``Runtime.statistics()`` shows."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import attrs

if TYPE_CHECKING:
    from trouper.supervisor.runtime_tree import RuntimeTree


def usage(tree: RuntimeTree) -> dict[str, Any]:
    """Counters, and the use of each bound."""
    limits = tree.options.channels
    channels = [
        channel.statistics() for user in tree.subscribers.users() for channel in tree.subscribers.of(user)
    ]
    return {
        "queued": {"now": tree.board.queued, "max": tree.options.max_queued},
        "running": {"now": len(tree.running), "max": tree.options.max_running},
        "sessions": {"now": len(channels), "max": tree.options.max_sessions},
        "attached": {
            "now": sum(channel.attached for channel in channels),
            "most": max((channel.attached for channel in channels), default=0),
            "max": limits.attachments,
        },
        "in_flight_bytes": {
            "now": sum(channel.in_flight_bytes for channel in channels),
            "most": max((channel.in_flight_bytes for channel in channels), default=0),
            "max": limits.window_bytes,
        },
        "outputs": {
            **tree.outputs.statistics(),
            "pending_bytes_max": tree.options.jobs.pending_bytes,
            "tail_bytes_max": tree.options.jobs.tail_bytes,
            "bytes_max": tree.options.jobs.output_bytes,
            "pages_max": limits.pages,
        },
        "expiry_mailbox": {
            "now": 0 if (box := tree.expiry.statistics()) is None else box.waiting,
            "max": tree.options.expiry_mailbox,
        },
        "hooks": {**tree.hooks.counters, "max": tree.options.max_hooks},
        "notifiers": attrs.asdict(tree.notifiers.statistics()),
        "jobs": attrs.asdict(tree.jobs.statistics()),
        "gateways": attrs.asdict(tree.gateways.statistics()),
        "store": dict(tree.store.statistics()),
        "lease": tree.lease.statistics(),
        "ready": tree.ready,
    }
