"""What the clients do: each has some lanes, and each lane does one thing after the other."""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Awaitable, Callable
from contextlib import aclosing

import trio

import trouper
from tests.torture.journal import Copy, Journal


class Lane:
    """One user's device, doing one thing at a time. What it does is drawn, from a seed."""

    def __init__(
        self,
        client: trouper.Client,
        user: str,
        name: str,
        journal: Journal,
        turns: defaultdict[str, trio.Lock],
        seed: str,
    ) -> None:
        self._client = client
        self._user = user
        self._name = name
        self._journal = journal
        self._turns = turns
        self._random = random.Random(f"{seed}/{name}")
        self._keys = 0

    async def run(self) -> None:
        """Go on until the journal is closed."""
        deeds: dict[Callable[[], Awaitable[None]], int] = {
            self.watch: 4,
            self.leave_and_return: 3,
            self.cancel: 3,
            self.cancel_what_does_not_end: 1,
            self.cancel_by_key_before_it_comes: 1,
            self.cancel_by_key: 1,
            self.steer: 2,
            self.answer: 2,
            self.mark: 2,
            self.disconnect: 1,
            self.watch_what_another_device_began: 2,
        }
        while not self._journal.stop:
            (deed,) = self._random.choices(list(deeds), list(deeds.values()))
            await deed()
            await trio.sleep(self._random.uniform(0, 0.01))

    # --- deeds ---

    async def watch(self) -> None:
        name = self._random.choice(("tale", "tale", "charge", "once", "fails"))
        await self.follow(await self.submit(name, lines=self._random.randint(4, 30)))

    async def leave_and_return(self) -> None:
        job = await self.submit("tale", lines=self._random.randint(10, 40))
        await self.follow(job, pieces=self._random.randint(1, 4))
        await trio.sleep(self._random.uniform(0, 0.05))
        await self.follow(job)

    async def cancel(self) -> None:
        job = await self.submit("sleeper")
        if self._random.random() < 0.7:
            await self.follow(job, pieces=1)
        await self._cancel(job)

    async def cancel_what_does_not_end(self) -> None:
        job = await self.submit("stubborn")
        await self.follow(job, pieces=1)
        await self._cancel(job)

    async def _cancel(self, job: str) -> None:
        answer = (await self._client.cancel(job)).answer
        assert answer in ("accepted", "already_ended"), answer  # a repeated one may find it ended
        self._journal.cancelled.add(job)
        await self.follow(job)

    async def cancel_by_key_before_it_comes(self) -> None:
        key = self.new_key()
        assert await self._revoke(key) == "accepted"
        self._journal.revoked.add(key)
        await self.follow(await self.submit("tale", key=key, lines=5))

    async def cancel_by_key(self) -> None:
        key = self.new_key()
        job = await self.submit("sleeper", key=key)
        assert await self._revoke(key) in ("accepted", "already_ended")
        self._journal.cancelled.add(job)
        await self.follow(job)

    async def _revoke(self, key: str) -> object:
        job = await self.submit("revoke", key=self.new_key(), arguments={"key": key})
        await self.follow(job)
        return (await self._client.job(job)).result

    async def steer(self) -> None:
        count = self._random.randint(2, 8)
        job = await self.submit("steered", lines=count)
        for number in range(count):
            for _ in range(self._random.choice((1, 1, 2))):
                answer = await self._client.signal(job, number, key=f"{job}-{number}")
                # Sent once more, it may find that all was told and the job is over.
                assert answer == "accepted" or (answer, number) == ("already_ended", count - 1), answer
            await trio.sleep(self._random.uniform(0, 0.01))
        self._journal.steered[job] = count
        await self.follow(job)

    async def answer(self) -> None:
        """Answer what a job asks, when the feed shows it; nobody can answer it another way after that."""
        count = self._random.randint(1, 3)
        job = await self.submit("asks", arguments={"questions": count})
        given = self._journal.answered[job] = list[str]()
        for number in range(count):
            key, value = str(number), f"{self._name} says {number}"
            await self._until_asked(job, key)
            for _ in range(self._random.choice((1, 1, 2))):
                answer = await self._client.answer(job, key, value)
                assert answer == "accepted", answer
            given.append(value)
            answer = await self._client.answer(job, key, "something else")
            assert answer == "already_answered", answer
        await self.follow(job)

    async def _until_asked(self, job: str, key: str) -> None:
        async with aclosing(self._client.changes()) as changes:
            async for _ in changes:
                row = self._client.feed.jobs.get(job)
                if row is not None and row.asking is not None and row.asking["key"] == key:
                    return

    async def mark(self) -> None:
        unread = [row.id for row in self._client.feed.notifications if not row.read]
        chosen = self._random.sample(unread, min(len(unread), 3))
        if chosen:
            await self._client.mark("read", ids=chosen)
            self._journal.read.update(chosen)

    async def disconnect(self) -> None:
        await self._client.drop_connection()
        self._journal.reconnects += 1

    async def watch_what_another_device_began(self) -> None:
        if jobs := list(self._client.feed.jobs):
            await self.follow(self._random.choice(jobs), pieces=self._random.randint(1, 5))

    # --- what deeds are made of ---

    def new_key(self) -> str:
        self._keys += 1
        return f"{self._name}-{self._keys}"

    async def submit(
        self, name: str, *, key: str | None = None, arguments: dict[str, object] | None = None, lines: int = 0
    ) -> str:
        """Submit, sometimes twice; the job's id."""
        key = self.new_key() if key is None else key
        if arguments is None:
            arguments = {"lines": lines} if lines else {}
        for _ in range(self._random.choice((1, 1, 2))):
            job = await self._client.submit(name, arguments, key=key)
            self._journal.acknowledged(key, self._user, name, job.id)
        return self._journal.submitted[key].job

    async def follow(self, job: str, pieces: int | None = None) -> Copy:
        """Watch a job's output to its end, or for so many pieces."""
        copy = self._journal.open_copy(job)
        # A client has one iterator for each output.
        async with self._turns[job], aclosing(self._client.output(job)) as items:
            async for item in items:
                copy.add(item)
                self._journal.came()
                if pieces is not None and (pieces := pieces - 1) <= 0:
                    break
        return copy
