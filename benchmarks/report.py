"""The table and the JSON of a run."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from benchmarks.measuring import OURS, Result, Series, Suite, Verdict

QUIET = 0.9
"""Below this share of the processor, in the median of a measure's rounds, the machine was not ours alone."""


def table(results: Sequence[Result]) -> str:
    """Medians, ranges, ratios, and which targets were met."""
    return "\n\n".join(map(_block, results))


def _block(result: Result) -> str:
    measure = result.measure
    lines = [f"{measure.name} ({measure.unit})" + (f": {measure.note}" if measure.note else "")]
    per_cpu = "" if measure.of_costs else "by CPU time"
    if not result.series:
        return "\n".join([*lines, "    cannot be told here"])
    lines.append(f"    {'':<32}{'median':>12}  {'range':<24}{'ours is':>10}{per_cpu:>14}")
    for name, series in result.series.items():
        ratio = "" if name == OURS or OURS not in result.series else f"{result.ratio(name):.2f} ×"
        span = f"{_number(min(series.values))} … {_number(max(series.values))}"
        lone = "" if measure.of_costs else _number(series.per_processor_second)
        lines.append(f"    {name:<32}{_number(series.median):>12}  {span:<24}{ratio:>10}{lone:>14}".rstrip())
        if series.facts:
            lines.append("        " + ", ".join(f"{fact} {_number(n)}" for fact, n in series.facts.items()))
    lines += [f"    target: {_verdict(verdict)}" for verdict in result.verdicts()]
    shares = [share for series in result.series.values() for share in series.busy]
    if (share := sorted(shares)[len(shares) // 2]) < QUIET:
        lines.append(
            f"    noisy: had a processor for {share:.0%} of the time only (threads that wait, or others)"
        )
    return "\n".join(lines)


def _verdict(verdict: Verdict) -> str:
    unit = "" if verdict.target.versus is None else " ×"
    return f"{verdict.target.text}: {_number(verdict.value)}{unit}: {'met' if verdict.met else 'MISSED'}"


def _number(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.2f}"


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
            {"target": verdict.target.text, "value": _short(verdict.value), "met": verdict.met}
            for verdict in result.verdicts()
        ],
    }


def _series(result: Result, series: Series) -> dict[str, Any]:
    return {
        "name": series.name,
        "median": _short(series.median),
        "low": _short(min(series.values)),
        "high": _short(max(series.values)),
        "ours_is_times": None if series.name == OURS else _short(result.ratio(series.name)),
        "by_processor_time": None if result.measure.of_costs else _short(series.per_processor_second),
        "share_of_processor": [_short(share) for share in series.busy],
        "rounds": [_short(value) for value in series.values],
        "facts": {fact: _short(number) for fact, number in series.facts.items()},
    }


def _short(value: float) -> float:
    """Four digits: the fifth is noise."""
    return float(f"{value:.4g}")
