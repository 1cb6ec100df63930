"""The job ``report``: audits the packages installed here, one by one.

It takes as long as the work does. Each package is a savepoint; a later attempt goes on at the next one, with
the list of packages as the first attempt found it. Between two packages it reads what was sent to it.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import cattrs
import trio

import trouper
from examples.chat.jobs import report_text as text
from examples.chat.jobs.page import Page
from examples.chat.jobs.surveyor import Broken, ImportTime, Surveyor
from examples.chat.jobs.work import Work, comparable, said_in

IMPORT_BUDGET_S = 90.0
"""Seconds of measuring imports that all packages share."""
MIN_BUDGET_S, MAX_BUDGET_S = 0.5, 4.0
"""The share of one package, in seconds, lies between these."""

Choose = Callable[[trouper.JobContext, Work], Awaitable[str]]
"""Changes what is to be done before it begins; gives what is to be said of it."""


async def audit_all(
    ctx: trouper.JobContext,
    surveyor: Surveyor,
    *,
    choose: Choose | None = None,
    transcripts: Path | None = None,
    now: Callable[[], float] = trio.current_time,
) -> dict[str, Any]:
    """Write the whole report, or what an earlier attempt has not.

    Args:
        surveyor: who measures.
        choose: asked once, before the first package; by default all packages are audited.
        transcripts: a folder for ``<job id>.md``; None for none.
        now: the clock that the running time is told by, in seconds.

    Returns the totals. Raises ``Broken`` if the list of packages cannot be had at all.

    **Cancellation**: programs under way are killed; the last savepoint stands.
    """
    work = None if ctx.saved is None else cattrs.structure(ctx.saved, Work)
    page = Page(ctx, written=0 if work is None else work.written, folder=transcripts)
    await page.begin()
    if work is None:
        packages = await surveyor.installed()
        work = Work(packages, [*packages])
        method = text.method(work, _budget(work)) if choose is None else ""
        await page.write(text.introduction(len(packages)) + method)
        await _save(ctx, work, page)
    if choose is not None and not work.chosen:
        said = await choose(ctx, work)
        await page.write(said + text.method(work, _budget(work)))
        work.chosen = True
        await _save(ctx, work, page)
    known = {comparable(name) for name, _ in work.packages}
    await _hear(ctx, page, work)
    while work.todo:
        begun = now()
        name, version = work.todo[0]
        await ctx.progress(work.tally.done, work.whole, name)
        await _audit_one(page, surveyor, work, name, version, known)
        work.tally.seconds += now() - begun
        work.todo.pop(0)
        work.tally.done += 1
        await _save(ctx, work, page)
        await _hear(ctx, page, work)
    await ctx.progress(work.whole, work.whole, "summary")
    if work.summary:
        await page.write(text.summary(work.tally))
    return work.tally.result()


def _budget(work: Work) -> float:
    return min(MAX_BUDGET_S, max(MIN_BUDGET_S, IMPORT_BUDGET_S / max(work.whole, 1)))


async def _save(ctx: trouper.JobContext, work: Work, page: Page) -> None:
    """One savepoint. The lists in it are short but for the names of the packages."""
    work.written = page.written
    await ctx.savepoint(cattrs.unstructure(work))


async def _hear(ctx: trouper.JobContext, page: Page, work: Work) -> None:
    """Do what was said meanwhile, in order, and tell that it was read.

    It is saved with the next package: after a crash before that it is read, done and told again.
    """
    while ctx.messages.pending:
        message = await anext(ctx.messages)
        said = said_in(message.data)
        reply = work.told(said)
        await page.write(text.heard(message.sender, said, reply))
        await ctx.emit("heard", {"id": message.id, "text": said, "reply": reply})


async def _audit_one(
    page: Page, surveyor: Surveyor, work: Work, name: str, version: str, known: set[str]
) -> None:
    """Heading, facts, imports: each written when it is known. Whatever is broken is a line."""
    tally = work.tally
    await page.write(text.heading(name, version))
    try:
        audit = await surveyor.audit(name)
    except Broken as error:
        tally.broke(name)
        await page.write(text.broken(error))
        return
    tally.audited(name, audit)
    await page.write(text.facts(audit, known))
    modules = () if work.brief else audit.package.importable
    for module in modules:
        try:
            time: ImportTime = await surveyor.import_time(module, _budget(work) / len(modules))
        except Broken as error:
            tally.import_failed(module)
            await page.write(text.import_failed(module, error))
        else:
            tally.imported(time)
            await page.write(text.import_time(time))
    await page.write(text.imports_end(audit, brief=work.brief))


def report_job(
    surveyor: Surveyor, transcripts: Path | None = None, now: Callable[[], float] = trio.current_time
) -> trouper.JobSpec[..., Any]:
    """The job ``report``; the arguments are those of ``audit_all``."""

    @trouper.job(name="report", client=True, timeout=3600, retry=trouper.Retry(attempts=10))
    async def report(ctx: trouper.JobContext) -> dict[str, Any]:
        return await audit_all(ctx, surveyor, transcripts=transcripts, now=now)

    return report
