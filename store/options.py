"""The bounds of a store, each with its unit. ``Store.statistics()`` shows their use."""

from __future__ import annotations

import attrs

from trouper.store.checks import count, number, one_of


@attrs.frozen(kw_only=True)
class StoreOptions:
    """How a store commits, and how much of anything it takes."""

    commit_tick_s: float = number(0.025, zero=True)
    """Output alone is committed once in this time; the first after a silence at once."""
    lock_wait_s: float = number(5.0, zero=True)
    """How long to wait for another runtime to let go of the database."""
    busy_wait_s: float = number(5.0, zero=True)
    """How long a commit waits for another program that writes into the file."""
    answer_s: float = number(10.0)
    """How long a call may take before those who wait for the store are told that it does not answer, and
    whoever comes is told so at once, until it does."""
    close_s: float = number(5.0)
    """How long the end of the store may take before its thread is left with the disk that does not answer.
    (In a runtime at most half of ``shutdown_total_s``, but half a second in any case.)"""
    operations_max: int = count(10_000)
    """Operations that wait for a commit or a read; beyond, they are refused as unavailable."""
    batch_operations_max: int = count(1_000)
    """Operations in one commit."""
    block_bytes: int = count(64 * 1024)
    """Output of a job (encoded) that is gathered before it is written as a block of its own."""
    journal_rows_max: int = count(512)
    """Commits whose output may still wait in the journal for being written as blocks."""
    secure_delete: str = one_of("fast", "off", "on")
    """What SQLite does with the place of what is deleted. ``"fast"``: it is overwritten with zeros unless its
    page becomes free, which then keeps it until it is needed again. ``"on"``: such pages too, so that the
    file holds nothing of it; each page of the journal is written twice then. ``"off"``: all stays until
    something else takes its place. (Said in any case: builds of SQLite differ in what they do.)"""
    read_bytes_max: int = count(1024 * 1024)
    """Payload of one page of output, whatever was asked for."""
    page_rows_max: int = count(500)
    """Rows of one page of a list, whatever was asked for."""
    tombstones_per_user_max: int = count(100, least=0)
    """Keys of one user that were cancelled before their job came; the oldest makes room."""
    tombstone_age_s: float = number(3600.0, zero=True)
    """How long such a key is remembered."""
    signals_pending_max: int = count(100)
    """Messages to one job that it has not read at a savepoint; a further one is refused."""
    signals_remembered: int = count(100, least=0)
    """Messages to one job that are kept after it read them, so that one that is sent again is known."""
    job_names_max: int = count(1_000)
    """Names of jobs that one node registers; a node with more of them is refused."""
    clock_jump_s: float = number(5.0)
    """A wall clock that is off by this much from one read to the next was set. By less: it is slewed."""
    retry_base_s: float = number(0.1)
    retry_max_s: float = number(2.0)
    """After a failed commit output is offered again after this time, doubling up to the most."""


DEFAULTS = StoreOptions()
