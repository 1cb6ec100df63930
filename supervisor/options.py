"""The bounds of a runtime, each with its unit."""

from __future__ import annotations

from typing import Any

import attrs

from trouper.actors.options import ChannelLimits, JobLimits


def _at_least_one(instance: object, attribute: attrs.Attribute[Any], value: int) -> None:
    if value < 1:
        raise ValueError(f"{attribute.name}={value!r}: legal are whole numbers from 1")


@attrs.frozen(kw_only=True)
class RuntimeOptions:
    """What a runtime may use."""

    max_running: int = attrs.field(default=200, validator=_at_least_one)
    """Jobs that run at the same time."""
    max_running_per_user: int = attrs.field(default=100, validator=_at_least_one)
    """Jobs of one user that run at the same time; further ones wait in the queue."""
    max_queued: int = attrs.field(default=10_000, validator=_at_least_one)
    """Queued jobs, over all users, those that wait for a person or a retry among them; a submit beyond
    is refused."""
    max_queued_per_user: int = attrs.field(default=1_000, validator=_at_least_one)
    """Queued jobs of one user, those that wait for a person or a retry among them; a submit beyond is
    refused."""
    max_sessions: int = attrs.field(default=20_000, validator=_at_least_one)
    """Open sessions, over all users; a further one is refused."""
    places_interval_s: float = 1.0
    """How often, at most, sessions are told the places of their queued jobs."""
    places_per_user: int = attrs.field(default=20, validator=_at_least_one)
    """The queued jobs of a user, next first, whose places are told."""
    places_users: int = attrs.field(default=1_000, validator=_at_least_one)
    """Waiting users who are looked at for it; who comes behind them is told no place."""
    max_delay_s: float = 366 * 86_400.0
    """How far ahead a job may be put off, by ``delay`` or ``at``."""
    unknown_job_s: float = 3600.0
    """How long a queued job waits whose name is not registered, by the wall clock; then it is ``lost``."""
    arguments_bytes: int = attrs.field(default=32 * 1024, validator=_at_least_one)
    """The JSON of one job's arguments."""
    signal_bytes: int = attrs.field(default=16 * 1024, validator=_at_least_one)
    """The JSON of one message to a job."""
    answer_bytes: int = attrs.field(default=16 * 1024, validator=_at_least_one)
    """The JSON of one answer to a question of a job."""
    notifier_mailbox: int = attrs.field(default=1024, validator=_at_least_one)
    """Messages that wait for one user's notifier."""
    expiry_mailbox: int = attrs.field(default=10_000, validator=_at_least_one)
    """Messages that wait for the actor that claims and buries: at most one for each job that runs."""
    max_hooks: int = attrs.field(default=16, validator=_at_least_one)
    """``on_ended`` hooks that run at the same time; further ones wait."""
    sweep_interval_s: float = 5.0
    """How often it is checked that each running row has its actor, and that no clock jump hides a
    due row; and how far users and jobs use their bounds, which ``statistics()`` shows."""
    shutdown_total_s: float = 30.0
    """One deadline for the ordered stop of the whole tree."""
    jobs: JobLimits = JobLimits()
    channels: ChannelLimits = ChannelLimits()
