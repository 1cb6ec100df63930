"""The bounds of what runs: one frozen class, each with its unit."""

from __future__ import annotations

import attrs

from trouper.store.checks import count, number


@attrs.frozen(kw_only=True)
class JobLimits:
    """Bounds of each running job and of each session's channel."""

    grace_s: float = number(5.0, zero=True)
    """How long a job may take to end once it was told to; then it is reported as stuck."""
    pending_bytes: int = count(256 * 1024)
    """Output that the store has not committed; ``write`` waits beyond it."""
    tail_bytes: int = count(256 * 1024)
    """Committed output of a running job that is kept in memory for those who read along."""
    output_bytes: int = count(64 * 1024 * 1024)
    """The output of a job, in UTF-8 bytes: what its savepoints kept of earlier attempts and what this one
    writes, so that a job which is retried for ever does not write for ever. (What a retry cuts off is gone
    and does not count.) The call that goes beyond writes nothing of its piece and raises
    ``OutputTooLarge``, which ends the job ``failed`` without a retry; what was written before is kept."""
    saved_bytes: int = count(1024 * 1024)
    """The JSON of a savepoint's state."""
    result_bytes: int = count(256 * 1024)
    """The JSON of what a job returns."""
    error_chars: int = count(2_000)
    """The text of an error kept with the row."""
    notification_bytes: int = count(4 * 1024)
    """Title and body of ``ctx.notify``, in UTF-8, together."""
    question_bytes: int = count(16 * 1024)
    """The JSON of a question to a person, with its key and its schema."""
    questions: int = count(100, least=0)
    """Questions that one job may ask, over all its attempts."""
    note_chars: int = count(200, least=0)
    """The note of ``ctx.progress``."""
    store_patience_s: float = number(30.0, zero=True)
    """How long the store may be down before a running attempt is given back."""
    writes_per_checkpoint: int = count(64)
    """A ``write`` that runs on without waiting is a checkpoint at least every so often."""
    checkpoint_s: float = number(0.025, zero=True)
    """… and at least after this time."""


@attrs.frozen(kw_only=True)
class ChannelLimits:
    """Bounds of one session's channel and of one user's notifier."""

    window_bytes: int = count(256 * 1024)
    """Payload of output that may be sent and not yet acknowledged."""
    attachments: int = count(256)
    """Outputs that one session may attach."""
    page_bytes: int = count(256 * 1024)
    """One page of older output read from the store."""
    pages: int = count(4)
    """Pages kept for one watched job."""
    feed_resume_rows: int = count(500, least=0)
    """A session further behind than this gets a snapshot."""
    feed_bytes: int = count(64 * 1024)
    """Rows of the feed in one message, about; more only if one transaction changed so many."""
    snapshot_notifications: int = count(50, least=0)
    """The newest notifications in a snapshot."""
