"""What a runtime uses of each of its bounds: what ``Runtime.statistics()`` shows."""

from __future__ import annotations

from heapq import nlargest
from typing import TYPE_CHECKING, Any

import attrs

from trouper.store.usage import StoreUsage

if TYPE_CHECKING:
    from trouper.supervisor.runtime_tree import RuntimeTree


LARGEST_USERS = 10
"""So many users with the most active jobs are shown, and so many with the fullest notifiers."""

NOTHING = StoreUsage((), 0, 0)


def usage(tree: RuntimeTree) -> dict[str, Any]:
    """Counters, and the use of each bound."""
    limits = tree.options.channels
    subscribers = tree.audience.subscribers
    channels = [channel.statistics() for user in subscribers.users() for channel in subscribers.of(user)]
    return {
        **_of_rows(tree),
        "queued": {"now": tree.audience.board.queued, "max": tree.options.max_queued},
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
            **tree.audience.outputs.statistics(),
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
        "notifier_mailboxes": _notifier_mailboxes(tree),
        "notifiers": attrs.asdict(tree.audience.notifiers.statistics()),
        "jobs": attrs.asdict(tree.jobs.statistics()),
        "gateways": attrs.asdict(tree.gateways.statistics()),
        "store": dict(tree.store.statistics()),
        "lease": tree.lease.statistics(),
        "ready": tree.ready,
    }


def _notifier_mailboxes(tree: RuntimeTree) -> dict[str, Any]:
    waiting = tree.audience.notifiers.waiting()
    largest = nlargest(LARGEST_USERS, waiting.items(), key=lambda of: of[1])
    return {
        "now": sum(waiting.values()),
        "most": largest[0][1] if largest else 0,
        "largest": [{"user": user, "waiting": number} for user, number in largest],
        "max": tree.options.notifier_mailbox,
    }


def _of_rows(tree: RuntimeTree) -> dict[str, Any]:
    """What only the store knows, as of the last look at it (``sweep_interval_s``)."""
    used, bounds = tree.used, tree.store_options
    return {
        "users": {
            "largest": [attrs.asdict(user) for user in used.users],
            "queued_max": tree.options.max_queued_per_user,
            "running_max": tree.options.max_running_per_user,
        },
        "signals_pending": {"most": used.signals_pending, "max": bounds.signals_pending_max},
        "questions": {"most": used.questions, "max": tree.options.jobs.questions},
        "tombstones_per_user": {"most": used.tombstones, "max": bounds.tombstones_per_user_max},
    }
