"""The job ``report``: audits the packages installed here, one by one.

It takes as long as the work does. Each package is a savepoint; a later attempt goes on at the next one, with
the list of packages as the first attempt found it.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import cattrs
import trio

import trouper
from examples.chat.jobs import report_text as text
from examples.chat.jobs.page import Page
from examples.chat.jobs.surveyor import Broken, ImportTime, Surveyor
from examples.chat.jobs.tally import Tally

IMPORT_BUDGET_S = 90.0
"""Seconds of measuring imports that all packages share."""
MIN_BUDGET_S, MAX_BUDGET_S = 0.5, 4.0
"""The share of one package, in seconds, lies between these."""


async def audit_all(
    ctx: trouper.JobContext,
    surveyor: Surveyor,
    *,
    transcripts: Path | None = None,
    now: Callable[[], float] = trio.current_time,
) -> dict[str, Any]:
    """Write the whole report, or what an earlier attempt has not.

    Args:
        surveyor: who measures.
        transcripts: a folder for ``<job id>.md``; None for none.
        now: the clock that the running time is told by, in seconds.

    Returns the totals. Raises ``Broken`` if the list of packages cannot be had at all.

    **Cancellation**: programs under way are killed; the last savepoint stands.
    """
    saved: dict[str, Any] = ctx.saved or {}
    page = Page(ctx, written=saved.get("written", 0), folder=transcripts)
    await page.begin()
    if saved:
        packages = [(name, version) for name, version in saved["packages"]]
        tally = cattrs.structure(saved["tally"], Tally)
    else:
        packages, tally = await surveyor.installed(), Tally()
        await page.write(text.introduction(len(packages), _budget(len(packages))))
        await _save(ctx, packages, tally, page)
    known = {text.comparable(name) for name, _ in packages}
    for name, version in packages[tally.done :]:
        begun = now()
        await ctx.progress(tally.done, len(packages), name)
        await _audit_one(page, surveyor, tally, name, version, known, _budget(len(packages)))
        tally.seconds += now() - begun
        tally.done += 1
        await _save(ctx, packages, tally, page)
    await ctx.progress(len(packages), len(packages), "summary")
    await page.write(text.summary(tally))
    return tally.result()


def _budget(packages: int) -> float:
    return min(MAX_BUDGET_S, max(MIN_BUDGET_S, IMPORT_BUDGET_S / max(packages, 1)))


async def _save(ctx: trouper.JobContext, packages: list[tuple[str, str]], tally: Tally, page: Page) -> None:
    """One savepoint. The lists in it are short but for the names of the packages."""
    await ctx.savepoint({"packages": packages, "tally": cattrs.unstructure(tally), "written": page.written})


async def _audit_one(
    page: Page, surveyor: Surveyor, tally: Tally, name: str, version: str, known: set[str], budget_s: float
) -> None:
    """Heading, facts, imports: each written when it is known. Whatever is broken is a line."""
    await page.write(text.heading(name, version))
    try:
        audit = await surveyor.audit(name)
    except Broken as error:
        tally.broke(name)
        await page.write(text.broken(error))
        return
    tally.audited(name, audit)
    await page.write(text.facts(audit, known))
    times: list[ImportTime] = []
    modules = audit.package.importable
    for module in modules:
        try:
            times.append(await surveyor.import_time(module, budget_s / len(modules)))
        except Broken as error:
            tally.import_failed(module)
            await page.write(text.import_failed(module, error))
        else:
            tally.imported(times[-1])
            await page.write(text.import_time(times[-1]))
    await page.write(text.imports_end(audit))


def report_job(
    surveyor: Surveyor, transcripts: Path | None = None, now: Callable[[], float] = trio.current_time
) -> trouper.JobSpec[..., Any]:
    """The job ``report``; the arguments are those of ``audit_all``."""

    @trouper.job(name="report", client=True, timeout=3600, retry=trouper.Retry(attempts=10))
    async def report(ctx: trouper.JobContext) -> dict[str, Any]:
        return await audit_all(ctx, surveyor, transcripts=transcripts, now=now)

    return report
