"""Random histories of a store compared with the model: each answer, and after it all that can be read.

So these hold after every step: a job has one state, which never leaves a terminal one; its log is what was
accepted, in order, cut as the claims cut it; a notification is there once; counts are those of the rows; the
feed's seq rises exactly when something of the user's changed, and the rows since a cursor are what changed;
a writer with an old fence changes nothing; turns are fair; listeners are told of all of it; and a restart
forgets none of it.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import attrs
import hypothesis
import trio
from hypothesis import HealthCheck, Phase, given

from trouper.store.contract.gist import gist, note_of, seen, times
from trouper.store.contract.histories import HISTORIES, HISTORIES_OF_TWO, NAMES, SMALL_OPTIONS, Play
from trouper.store.contract.model import Model
from trouper.store.contract.model.rows import Key, Row
from trouper.store.contract.world import InlineThread, World
from trouper.store.options import StoreOptions
from trouper.store.protocol import Append, Store
from trouper.store.records import JobState
from trouper.store.seams import Seams

Make = Callable[[Seams, StoreOptions], Store]
ALL_ROWS = 500

Image = dict[object, tuple[object, ...]]
"""Each job (by id) and notification (by key) as (user, what can be seen of it …)."""


@attrs.define
class Compared(Play):
    """One store beside its model."""

    model: Model = attrs.field(kw_only=True)
    seqs: dict[str, int] = attrs.field(factory=lambda: dict.fromkeys(NAMES, 0))
    keys: dict[str, Key] = attrs.field(factory=dict)
    """Notification id → what the model calls it."""
    heard: int = 0
    """Notices that were looked at."""

    async def carry_out(self, method: str, *values: Any, **named: Any) -> Any:
        told = dict(named)
        if "ids" in named:
            told["ids"] = [self.keys[id] for id in named["ids"] if id in self.keys]
        self.model.bury()
        expected = getattr(self.model, method)(*values, **told)
        answer = await super().carry_out(method, *values, **named)
        assert gist(answer) == expected, f"{method} {values} {named}"
        return answer

    def committed(self, request: Append, answer: object) -> None:
        self.model.bury()
        assert gist(answer) == self.model.append(request), request

    async def restart(self) -> tuple[int, str]:
        before = self.world.store.boot, self.world.store.epoch
        boot, epoch = await super().restart()
        assert boot > before[0], "every start of a store is a boot of its own"
        assert epoch == before[1]
        self.model.begin(boot, instead=before[0])
        return boot, epoch

    async def let_go(self) -> None:
        before = self.world.store.boot
        await super().let_go()
        self.model.begin(self.world.store.boot, instead=before)

    async def renew(self) -> bool:
        before, live = self.world.store.boot, self.model.renew()
        anew = await super().renew()
        assert anew is not live, "a boot is live until its lease ends, and not longer"
        if anew:
            self.model.begin(self.world.store.boot, instead=before)
        return anew

    async def node(self, number: int) -> None:
        await super().node(number)
        self.model.boot = self.world.store.boot

    async def jump(self, by_s: int) -> None:
        """The store sees by its next transaction that its clock was set."""
        await super().jump(by_s)
        if abs(by_s) >= self.world.options.clock_jump_s and self.world.store.lease is None:
            self.model.jumped(by_s)
        await super().carry_out("retry_completion", "nobody")

    def image(self) -> Image:
        jobs: Image = {id: (row.spec.user, seen(row)) for id, row in self.model.jobs.items()}
        notes: Image = {
            key: (note.user, note.seen, note.read, note.archived) for key, note in self.model.notes.items()
        }
        return {**jobs, **notes}

    async def step(self, name: str, *values: Any) -> None:
        """One operation, and a look at everything."""
        before = self.image()
        await getattr(self, name)(*values)
        after = self.image()
        changed = {thing for thing in {**before, **after} if before.get(thing) != after.get(thing)}
        for user in NAMES:
            of_user = {thing for thing in changed if {**before, **after}[thing][0] == user}
            await self.feed_agrees(user, of_user, removed=bool(of_user - after.keys()))
            await self.lists_agree(user)
        await self.jobs_agree()
        self.notices_agree(changed, {**before, **after})

    async def feed_agrees(self, user: str, changed: set[object], *, removed: bool) -> None:
        store, seq = self.world.store, self.seqs[user]
        snapshot = await store.snapshot(user, ALL_ROWS)
        assert (snapshot.seq > seq) if changed else (snapshot.seq == seq), "the feed moves with its rows"
        self.seqs[user] = snapshot.seq
        assert snapshot.counts == self.model.counts(user), f"the counts of {user}"
        active = [seen(row) for row in self.model.active(user)]
        assert [seen(job) for job in snapshot.jobs] == active, f"the active jobs of {user}, in a snapshot"
        changes = await store.changes_since(user, seq, ALL_ROWS)
        if removed:
            assert changes is None, "a cursor from before a removal gets a snapshot"
        else:
            assert changes is not None
            told = {job.id for job in changes.jobs} | {note_of(row)[0] for row in changes.notifications}
            assert told == changed, "the rows since a cursor are what changed"
            assert (changes.seq, changes.counts) == (snapshot.seq, snapshot.counts)
            self.keys.update((row.id, note_of(row)[0]) for row in changes.notifications)
        for thing in changed & self.model.notes.keys():
            self.model.notes[thing].seq = snapshot.seq  # type: ignore[index]

    async def lists_agree(self, user: str) -> None:
        store = self.world.store
        rows = [row for row in self.model.jobs.values() if row.spec.user == user]
        told_rows = [seen(job) for job in await store.jobs(user, limit=ALL_ROWS)]
        assert told_rows == [*map(seen, rows)][::-1], f"the jobs of {user}, newest first"
        threads = [
            (told.thread, told.jobs, told.active, told.first.id, told.last.id)
            for told in await store.threads(user)
        ]
        assert threads == self.threads_of(rows), f"the threads of {user}"
        notes = [
            (key, note.seen, note.read)
            for key, note in self.model.notes.items()
            if note.user == user and not note.archived
        ]
        told_notes = await store.notifications(user, limit=ALL_ROWS)
        assert [note_of(note) for note in told_notes] == notes[::-1], f"the inbox of {user}, newest first"
        self.keys.update((note.id, note_of(note)[0]) for note in told_notes)

    def threads_of(self, rows: list[Row]) -> list[tuple[object, ...]]:
        names = dict.fromkeys(row.spec.thread for row in reversed(rows) if row.spec.thread is not None)
        threads = [(name, [row for row in rows if row.spec.thread == name]) for name in names]
        return [(name, len(of), sum(row.active for row in of), of[0].id, of[-1].id) for name, of in threads]

    async def jobs_agree(self) -> None:
        store, model = self.world.store, self.model
        for id, row in model.jobs.items():
            assert await self.world.log(id, page_bytes=30) == tuple(row.log), id
            head = await store.output_head(id)
            assert head is not None
            assert (head.entries, seen(head.job)) == (len(row.log), seen(row))
            assert row.state != "queued" or times(head.job) == times(row)
            messages = [(told.id, (told.seq, told.body)) for told in await store.signals(id, 0, 9)]
            assert messages == list(model.messages_of(id).items()), f"the messages to {id}"
            asked = await store.question_of(id, "k")
            given = asked.question and (asked.question.answer, asked.question.answered_by)
            assert (asked.count, given) == model.asked(id, "k"), f"the questions of {id}"
        here = {row.id for row in model.active() if row.boot == model.boot}
        assert {job.id for job in await store.running()} == here, "what runs under this boot"
        states = [row.state for row in model.active()]
        counts = {state: states.count(state) for state in (JobState.QUEUED, JobState.RUNNING)}
        assert await store.active_counts() == counts, "how many are active"
        used = await store.usage(9)
        shown = [attrs.astuple(user) for user in used.users], *attrs.astuple(used)[1:]
        assert shown == model.usage(), "how far bounds are used"
        places = await store.queue_places(NAMES)
        told = {id: place for of_user in places.values() for id, place in of_user}
        assert told == model.places(), "the places in the queue"
        dead = [id for id, hook in model.hooks.items() if hook.dead]
        given_up = [row.job for row in await store.dead_completions()]
        assert given_up == dead[::-1], "the hooks that were given up, newest job first"

    def notices_agree(self, changed: set[object], things: Image) -> None:
        notices, self.heard = self.world.notices[self.heard :], len(self.world.notices)
        told = {job.id: seen(job) for notice in notices for job in notice.jobs}
        expected = {id: seen(row) for id, row in self.model.jobs.items() if id in changed}
        assert told == expected, "listeners are told of the rows as they are"
        users = {user for notice in notices for user in notice.feeds}
        assert users == {things[thing][0] for thing in changed}, "and of the feeds that moved"
        for notice in notices:
            for id, (attempt, entries) in notice.outputs.items():
                row = self.model.jobs[id]
                assert (attempt, entries) == (row.attempt, len(row.log)), "and of the output that came"


async def _play(operations: list[tuple[Any, ...]], make: Make, nodes: int) -> None:
    difference: Exception | None = None
    async with trio.open_nursery() as nursery:
        worlds = [
            World(make, nursery, options=SMALL_OPTIONS, open_thread=InlineThread, name="ab"[number])
            for number in range(nodes)
        ]
        for world in worlds:
            await world.open()
        world = worlds[0]
        # The clock of a store that nodes share is not theirs.
        clock = world.wall if world.store.lease is None else world.seams.now
        lease_s = math.inf if world.store.lease is None else world.store.lease.seconds
        play = Compared(world, nodes=worlds, model=Model(clock=clock, options=SMALL_OPTIONS, lease_s=lease_s))
        for other in reversed(worlds):
            play.model.begin(other.store.boot)
        try:
            for operation in operations:
                await play.step(*operation)
        except Exception as found:  # told as it is, not in a nursery's group
            difference = found
        for world in worlds:
            await world.close()
    if difference is not None:
        raise difference


def check_against_model(
    make: Callable[[Path], Make], folder: Path, *, histories: int = 50, shrink: bool = True, nodes: int = 1
) -> None:
    """Compare random histories with the model; ``AssertionError`` at the first difference.

    * ``make(place)``: gives what makes the stores of one history; ``place`` is a folder of its own.
    * ``histories``: how many; each is 40 to 50 operations, or a little fewer.
    * ``nodes``: how many share the store, 1 or 2; the operations of two are interleaved.
    * ``shrink``: look for a shorter history that differs too, before it is told.
    """
    phases = [Phase.explicit, Phase.reuse, Phase.generate, *([Phase.shrink] if shrink else [])]
    places = (folder / f"history-{number}" for number in itertools.count())

    @hypothesis.settings(
        max_examples=histories,
        deadline=None,
        phases=phases,
        report_multiple_bugs=False,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
    )
    @given(operations=HISTORIES if nodes == 1 else HISTORIES_OF_TWO)
    def check(operations: list[tuple[Any, ...]]) -> None:
        place = next(places)
        place.mkdir()
        trio.run(_play, operations, make(place), nodes)

    check()
