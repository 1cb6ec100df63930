"""The table and the JSON of a run."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from statistics import median
from typing import Any

from benchmarks.measuring import OURS, Result, Series, Suite, Verdict

QUIET = 0.9
"""Below this share of the processor, in the median of the rounds, the machine was not ours alone."""

WIDTH = 110


def table(results: Sequence[Result]) -> str:
    """Medians, ranges, ratios, and which targets were met."""
    return "\n\n".join(map(_block, results))


def _block(result: Result) -> str:
    measure = result.measure
    lines = [f"{measure.name} ({measure.unit})", *_note(measure.note)]
    if not result.series:
        return "\n".join([*lines, "    cannot be told here"])
    by_cpu = f"{'by CPU time':>14}{'ours / it':>10}" if measure.keeps_busy else ""
    lines.append(f"    {'':<32}{'median':>12}  {'range':<24}{'ours / it':>10}{by_cpu}")
    for name, series in result.series.items():
        compared = name != OURS and OURS in result.series
        ratio = f"{result.ratio(name):.2f} ×" if compared else ""
        span = f"{_number(min(series.values))} … {_number(max(series.values))}"
        if measure.keeps_busy:
            lone = f"{result.ratio_by_processor_time(name):.2f} ×" if compared else ""
            by_cpu = f"{_number(median(series.by_processor_time)):>14}{lone:>10}"
        lines.append(f"    {name:<32}{_number(series.median):>12}  {span:<24}{ratio:>10}{by_cpu}".rstrip())
        if compared and (warning := _warning(result.unlike(name))):
            lines.append(f"        beware of the ratio: {warning}")
        lines += _wrapped([f"{fact} {_number(number)}" for fact, number in series.facts.items()], 8, 8)
    lines += [f"    target: {_verdict(verdict)}" for verdict in result.verdicts()]
    return "\n".join([*lines, *_noise(result)])


def _noise(result: Result) -> list[str]:
    """Who was disturbed. Of rates all rounds are taken together: some contenders wait by themselves."""
    shares = {name: series.busy for name, series in result.series.items() if series.busy}
    if result.measure.keeps_busy:
        share = median(share for busy in shares.values() for share in busy)
        what = f"had a processor for {share:.0%} of the time only (threads that wait, or others)"
        return [f"    noisy: {what}"] if share < QUIET else []
    noisy = [f"for {1 - median(busy):.0%} ({name})" for name, busy in shares.items() if median(busy) < QUIET]
    return _wrapped(["noisy: others had a processor meanwhile", *noisy]) if noisy else []


def _note(note: str) -> list[str]:
    return textwrap.wrap(note, WIDTH, initial_indent="    ", subsequent_indent="    ")


def _wrapped(parts: Sequence[str], first: int = 4, then: int = 6) -> list[str]:
    """Parts with commas between them as indented lines, none broken within."""
    text = ", ".join(part.replace(" ", "\xa0") for part in parts)
    lines = textwrap.wrap(text, WIDTH, initial_indent=" " * first, subsequent_indent=" " * then)
    return [line.replace("\xa0", " ") for line in lines]


def _verdict(verdict: Verdict) -> str:
    unit = "" if verdict.target.versus is None else " ×"
    text = f"{verdict.target.text}: {_number(verdict.value)}{unit}: {'met' if verdict.met else 'MISSED'}"
    return f"{text}, but beware of the ratio (above)" if verdict.unlike else text


def _warning(unlike: Mapping[str, tuple[float, float]]) -> str | None:
    """What is to be known of a ratio between two who did not do the same."""
    pairs = (f"{fact} {_number(ours)} against {_number(theirs)}" for fact, (ours, theirs) in unlike.items())
    return "; ".join(pairs) or None


def _number(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 100 or value == round(value) else f"{value:.2f}"


def as_json(
    suite: Suite, results: Sequence[Result], *, machine: dict[str, Any], quick: bool
) -> dict[str, Any]:
    """All of a run as what JSON can say."""
    return {
        "suite": suite.name,
        "quick": quick,
        "machine": machine,
        "measures": [_measure(r) for r in results],
    }


def _measure(result: Result) -> dict[str, Any]:
    return {
        "name": result.measure.name,
        "unit": result.measure.unit,
        "note": result.measure.note,
        "contenders": [_series(result, series) for series in result.series.values()],
        "targets": [
            {
                "target": verdict.target.text,
                "value": _short(verdict.value),
                "met": verdict.met,
                "warning": _warning(verdict.unlike),
            }
            for verdict in result.verdicts()
        ],
    }


def _series(result: Result, series: Series) -> dict[str, Any]:
    compared = series.name != OURS and OURS in result.series
    busy = result.measure.keeps_busy
    return {
        "name": series.name,
        "median": _short(series.median),
        "low": _short(min(series.values)),
        "high": _short(max(series.values)),
        "ours_divided_by_it": _short(result.ratio(series.name)) if compared else None,
        "warning": _warning(result.unlike(series.name)) if compared else None,
        "by_processor_time": _short(median(series.by_processor_time)) if busy else None,
        "ours_divided_by_it_by_processor_time": (
            _short(result.ratio_by_processor_time(series.name)) if compared and busy else None
        ),
        "share_of_processor": [_short(share) for share in series.busy],
        "rounds": [_short(value) for value in series.values],
        "facts": {fact: _short(number) for fact, number in series.facts.items()},
    }


def _short(value: float) -> float:
    """Four digits: the fifth is noise."""
    return float(f"{value:.4g}")
