"""The words of the report, as Markdown. No measuring here, so what is said can be read in one place."""

from __future__ import annotations

import platform
import re
from collections.abc import Iterable, Sequence

from examples.chat.jobs.audits import Audit
from examples.chat.jobs.surveyor import ImportTime
from examples.chat.jobs.tally import ENOUGH_NAMES, Tally
from examples.chat.jobs.work import Work, comparable


def plain(text: str) -> str:
    """``text`` from elsewhere, so that Markdown shows it as it is, on one line."""
    return re.sub(r"([\\`*_\[\]<>|~#])", r"\\\1", " ".join(text.split()))


def code(name: str) -> str:
    """A name as code; a stray backtick cannot end it."""
    return "`" + name.replace("`", "'").replace("|", "/") + "`"


def size(count: float) -> str:
    """Bytes for people: 512 B, 3.1 kB, 24 MB."""
    for unit in ("B", "kB", "MB"):
        if count < 1000:
            return f"{count:.0f} {unit}" if unit == "B" or count >= 10 else f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:.1f} GB"


def duration(seconds: float) -> str:
    """Seconds for people: 0.4 ms, 42 ms, 1.3 s, 2 min 5 s."""
    if seconds < 0.001:
        return f"{seconds * 1000:.1f} ms"
    if seconds < 1:
        return f"{seconds * 1000:.0f} ms"
    if seconds < 60:
        return f"{seconds:.1f} s"
    return f"{int(seconds // 60)} min {int(seconds % 60)} s"


def many(count: int, what: str) -> str:
    """1 file, 2 files, 3 classes."""
    if count == 1:
        return f"1 {what}"
    return f"{count:,} {what}{'es' if what.endswith('s') else 's'}"


def names(found: Sequence[str], count: int) -> str:
    """Some names, and how many there are beyond them."""
    more = count - len(found)
    return ", ".join(code(name) for name in found) + (f" and {more:,} more" if more > 0 else "")


def introduction(packages: int) -> str:
    return (
        "# The Python packages installed here\n\n"
        f"{platform.python_implementation()} {platform.python_version()} on {platform.system()}, "
        f"{many(packages, 'package')}.\n\n"
    )


def method(work: Work, budget_s: float) -> str:
    read = "Docstrings are counted by reading the source, public names only. "
    if work.brief:
        return f"{read}Nothing is imported.\n\n"
    return (
        f"{read}Import times are the median over fresh processes, as many as fit into "
        f"{budget_s:.1f} s for each package.\n\n"
    )


def chosen(work: Work, part: str, found: int) -> str:
    """``found``: how many have ``part`` in their name, of which the first ones were chosen."""
    which = f"whose name holds {code(part)}" if part else "that there are"
    first = f", of {found:,}" if found > len(work.todo) else ""
    return f"As chosen: {many(len(work.todo), 'package')}{first} {which}.\n\n"


def chosen_by_nobody(work: Work) -> str:
    return f"Nobody chose in time: all of {many(len(work.todo), 'package')}, in brief.\n\n"


def heard(sender: str | None, said: str, reply: str) -> str:
    """What was said to the report, and what it made of it."""
    return f"> **{plain(sender or 'somebody')}**: {plain(said) or '*nothing*'}\n>\n> *{plain(reply)}*\n\n"


def heading(name: str, version: str) -> str:
    return f"## {plain(name)} {plain(version)}\n\n"


def broken(error: Exception) -> str:
    return f"- could not be audited: {plain(str(error))}\n\n"


def facts(audit: Audit, known: set[str]) -> str:
    """Summary, licence, size, dependencies, docstrings. ``known``: what is installed, comparable."""
    package = audit.package
    lines = [f"{plain(package.summary)}\n"] if package.summary else []
    lines.append(f"- licence: {plain(package.licence) if package.licence else 'none named'}")
    if package.files:
        kind = " (linked to its working tree)" if package.editable else ""
        lines.append(f"- size: {size(package.bytes)} in {many(package.files, 'file')}{kind}")
    else:
        lines.append("- size: unknown, it lists no files that are there")
    lines.append(f"- requires: {_requirements(package.dependencies, known)}")
    lines.append(f"- public interface: {_docstrings(audit)}")
    lines += [f"- cannot be read: {plain(each)}" for each in audit.unreadable[:3]]
    if len(audit.unreadable) > 3:
        lines.append(f"- {len(audit.unreadable) - 3} more files cannot be read")
    return "\n".join(lines) + "\n"


def _requirements(dependencies: Iterable[str], known: set[str]) -> str:
    told = [
        plain(name) if comparable(name) in known else f"{plain(name)} (not installed)"
        for name in dependencies
    ]
    return ", ".join(told) or "nothing"


def _docstrings(audit: Audit) -> str:
    counts = [many(count, kind) for kind, count in audit.public.items() if count]
    if not counts:
        return "none in Python"
    whole = sum(audit.public.values())
    said = ", ".join(counts)
    if not audit.undocumented:
        return f"{said}; all have docstrings"
    share = f"{audit.undocumented:,} of {whole:,} ({audit.undocumented / whole:.0%})"
    return f"{said}; {share} without docstring: {names(audit.worst, audit.undocumented)}"


def import_time(time: ImportTime) -> str:
    own = "" if time.own_share is None else f"; {time.own_share:.0%} of that in modules of its own"
    return f"- import {code(time.module)}: {duration(time.median_s)} (median of {time.runs}{own})\n"


def import_failed(module: str, error: Exception) -> str:
    return f"- import {code(module)} failed: {plain(str(error))}\n"


def imports_end(audit: Audit, *, brief: bool = False) -> str:
    return "\n" if brief or audit.package.importable else "- nothing to import\n\n"


def summary(tally: Tally) -> str:
    share = f" ({tally.undocumented / tally.public:.0%})" if tally.public else ""
    rows = [
        ("packages", f"{tally.done:,}"),
        ("size on disk", f"{size(tally.bytes)} in {many(tally.files, 'file')}"),
        ("public names", f"{tally.public:,}"),
        ("without docstring", f"{tally.undocumented:,}{share}"),
        ("modules imported", f"{tally.modules:,}"),
        ("imports that failed", _counted(tally.failed, tally.failed_names)),
        ("without a licence", _counted(tally.unlicensed, tally.unlicensed_names)),
        ("could not be audited", _counted(tally.broken, tally.broken_names)),
        ("time taken", duration(tally.seconds)),
    ]
    parts = ["## Summary\n\n", table(("", ""), rows)]
    if tally.slowest:
        slowest = [(code(module), duration(seconds)) for module, seconds in tally.slowest]
        parts += ["\n### Slowest to import\n\n", table(("module", "median"), slowest)]
    if tally.largest:
        largest = [(code(name), size(count)) for name, count in tally.largest]
        parts += ["\n### Largest\n\n", table(("package", "size"), largest)]
    if tally.barest:
        barest = [
            (code(name), f"{bare / whole:.0%}", f"{bare:,} of {whole:,}")
            for name, bare, whole in tally.barest
        ]
        parts += [
            f"\n### Fewest docstrings (of those with at least {ENOUGH_NAMES} public names)\n\n",
            table(("package", "without", "names"), barest),
        ]
    return "".join(parts)


def _counted(count: int, found: Sequence[str]) -> str:
    return f"{count}: {names(found, count)}" if count else "none"


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table; the first column to the left, the others to the right."""
    lines = [head, ["---", *(["---:"] * (len(head) - 1))], *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)
