"""The bounds of a runtime, each with its unit."""

from __future__ import annotations

import attrs

from trouper.actors.options import ChannelLimits, JobLimits
from trouper.store.checks import count, number, options


@attrs.frozen(kw_only=True)
class RuntimeOptions:
    """What a runtime may use."""

    max_running: int = count(200)
    """Jobs that run at the same time."""
    max_running_per_user: int = count(100)
    """Jobs of one user that run at the same time; further ones wait in the queue."""
    max_queued: int = count(10_000)
    """Queued jobs, over all users, those that wait for a person or a retry among them; a submit beyond
    is refused."""
    max_queued_per_user: int = count(1_000)
    """Queued jobs of one user, those that wait for a person or a retry among them; a submit beyond is
    refused."""
    max_sessions: int = count(20_000)
    """Open sessions, over all users; a further one is refused."""
    places_interval_s: float = number(1.0, zero=True)
    """How often, at most, sessions are told the places of their queued jobs."""
    places_per_user: int = count(20)
    """The queued jobs of a user, next first, whose places are told."""
    places_users: int = count(1_000)
    """Waiting users who are looked at for it; who comes behind them is told no place."""
    max_delay_s: float = number(366 * 86_400.0, zero=True)
    """How far ahead a job may be put off, by ``delay`` or ``at``."""
    unknown_job_s: float = number(3600.0, zero=True)
    """How long a queued job waits whose name is not registered, by the wall clock; then it is ``lost``."""
    arguments_bytes: int = count(32 * 1024)
    """The JSON of one job's arguments."""
    signal_bytes: int = count(16 * 1024)
    """The JSON of one message to a job."""
    answer_bytes: int = count(16 * 1024)
    """The JSON of one answer to a question of a job."""
    notifier_mailbox: int = count(1024)
    """Messages that wait for one user's notifier."""
    expiry_mailbox: int = count(10_000)
    """Messages that wait for the actor that claims and buries: at most one for each job that runs."""
    max_hooks: int = count(16)
    """``on_ended`` hooks that run at the same time; further ones wait."""
    sweep_interval_s: float = number(5.0)
    """How often it is checked that each running row has its actor, and that no clock jump hides a
    due row; and how far users and jobs use their bounds, which ``statistics()`` shows."""
    shutdown_total_s: float = number(30.0, zero=True)
    """One deadline for the whole stop: running jobs are given back, the tree is stopped in order, and the
    store is closed, for which its ``close_s`` is kept."""
    jobs: JobLimits = options(JobLimits())
    channels: ChannelLimits = options(ChannelLimits())
