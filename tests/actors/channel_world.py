"""What a channel lives in, played by hand: one job, its log, the outputs of a node, a notifier."""

from __future__ import annotations

import attrs

from trouper.actors.channel import SubscriberChannel
from trouper.actors.channel_items import OutputItem
from trouper.actors.options import ChannelLimits
from trouper.actors.outputs import Outputs
from trouper.store.protocol import CommitNotice, OutputHead, OutputRange
from trouper.store.records import Entry, Job, JobState


class Owner:
    """A notifier that only remembers what it was asked."""

    def __init__(self) -> None:
        self.feeds_wanted = 0
        self.seen_jobs: list[str] = []

    def feed_wanted(self, channel: SubscriberChannel) -> None:
        self.feeds_wanted += 1

    def seen(self, channel: SubscriberChannel, job_id: str) -> bool:
        self.seen_jobs.append(job_id)
        return True


class World:
    """One job of ada's with its committed log, the outputs of a node, and who reads pages."""

    def __init__(self, limits: ChannelLimits = ChannelLimits()) -> None:
        self.limits = limits
        self.wanted: list[tuple[str, str, int]] = []
        self.outputs = Outputs(limits.pages, lambda *wish: self.wanted.append(wish))
        self.owner = Owner()
        self.log: list[Entry] = []
        self.committed = 0
        self.others: dict[str, OutputHead] = {}
        self.job = Job(id="j", user="ada", name="reply", feed_seq=1)

    def channel(
        self,
        user: str = "ada",
        *,
        visible: bool = True,
        wants_feed: bool = False,
        cursor: tuple[str, int] | None = None,
    ) -> SubscriberChannel:
        return SubscriberChannel(
            f"s-{user}",
            user,
            epoch="e",
            cursor=cursor,
            visible=visible,
            wants_feed=wants_feed,
            outputs=self.outputs,
            owner=self.owner,
            limits=self.limits,
        )

    def change(self, **fields: object) -> None:
        self.job = attrs.evolve(self.job, feed_seq=self.job.feed_seq + 1, **fields)  # type: ignore[arg-type]
        self._commit(jobs=(self.job,))

    def claim(self, keep: int) -> None:
        del self.log[keep:]
        self.committed = keep
        self.change(
            state=JobState.RUNNING, attempt=self.job.attempt + 1, entries=keep, keeps=(*self.job.keeps, keep)
        )

    def append(self, *entries: Entry) -> None:
        self.log.extend(entries)
        self.committed = len(self.log)
        self._commit(outputs={"j": (self.job.attempt, len(self.log))})

    def end(self, state: JobState = JobState.COMPLETED) -> None:
        self.change(state=state, entries=len(self.log), sha256="f" * 64)

    def _commit(self, jobs: tuple[Job, ...] = (), outputs: dict[str, tuple[int, int]] | None = None) -> None:
        self.outputs.committed(CommitNotice(outputs or {}, jobs, {}, False))

    def serve_pages(self) -> None:
        """Answer every wish, as a notifier would from the store."""
        while self.wanted:
            _, job_id, start = self.wanted.pop(0)
            head = self.outputs.get(job_id)
            if head is None:
                continue
            if start < 0:
                rows = {"j": OutputHead(self.job, self.committed), **self.others}
                self.outputs.loaded(job_id, rows.get(job_id))
            else:
                head.add_page(OutputRange(self.job.attempt, start, tuple(self.log[start : self.committed])))
                head.mark_watchers()

    def take(self, channel: SubscriberChannel, max_bytes: int = 64 * 1024) -> list[object]:
        """All that comes, pages served as they are wanted."""
        items: list[object] = []
        for _ in range(1000):
            self.serve_pages()
            more = channel.take(max_bytes)
            items.extend(more)
            if not more and not self.wanted:
                return items
        raise AssertionError("the channel never comes to rest")


def outputs_of(items: list[object]) -> list[OutputItem]:
    return [item for item in items if isinstance(item, OutputItem)]
