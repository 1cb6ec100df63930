"""A measure, who takes part in it, and the rounds.

Peers take turns within each round, and the order moves on from round to round: what disturbs the machine for
a second disturbs all of them, and a ratio is taken within a round, so it holds where the numbers wander.
"""

from __future__ import annotations

import gc
import os
import time
from collections.abc import Callable, Mapping, Sequence
from statistics import median

import attrs

from benchmarks.processor import Others, own_s

OURS = "trouper"
"""The name of our own contender in every measure."""
UNLIKE = 0.05
"""Contenders did not do the same if what is to be alike differs by more than this part of it."""


@attrs.frozen
class Taken:
    """A value together with what else is worth knowing of that round: name with its unit → number."""

    value: float
    facts: Mapping[str, float]
    quiet: float | None = None
    """Which part of the processors others left to it, if it knows better than whoever takes it."""


@attrs.frozen
class Contender:
    """One way to do what is measured."""

    name: str
    take: Callable[[int], float | Taken | None]
    """Do it that many times; gives the seconds it took, set-up and clean-up left out, or of a measure of
    costs the cost of each. ``None`` if that cannot be told here."""
    share: float = 1.0
    """Of the measure's number of times: less for one that is slow, more for one that is over at once."""
    available: Callable[[], bool] = lambda: True
    """Whether it can take part here; if not, it has no row."""


@attrs.frozen
class Target:
    """What ours is to reach."""

    text: str
    at_least: float = 0.0
    at_most: float = float("inf")
    versus: str | None = None
    """A contender's name: the ratio of ours to it is judged; ``None``: ours alone."""
    fact: str | None = None
    """Judge this fact, instead of the value."""


@attrs.frozen
class Measure:
    """Something that is done many times."""

    name: str
    unit: str
    times: int
    """How often in each round."""
    contenders: Sequence[Contender]
    targets: Sequence[Target] = ()
    note: str = ""
    of_costs: bool = False
    """Bytes or processor time for each, the fewer the better; else a rate, the higher the better."""
    waits: bool = False
    """A rate of who waits by himself, for a disk: its time without a processor is not all others' doing."""
    rounds_at_most: int = 1000
    alike: Sequence[str] = ()
    """Facts that are to be the same of two, or they did not do the same and their ratio says little."""

    @property
    def of_bytes(self) -> bool:
        """Whether nothing that others do changes the figure."""
        return self.unit.startswith("bytes")

    @property
    def keeps_busy(self) -> bool:
        """Whether all time without a processor was others' doing."""
        return not (self.of_costs or self.waits)


@attrs.frozen
class Suite:
    """Measures that belong together. ``peers``: packages to name the versions of."""

    name: str
    measures: Sequence[Measure]
    peers: Sequence[str] = ()
    prepare: Callable[[], str | None] = lambda: None
    """Called before a full run, to fetch what a peer needs; what to tell if that did not work."""
    other_versions: Callable[[], Mapping[str, str]] = dict
    """Of what else takes part and is no Python package."""
    profile: Callable[[float], str] | None = None
    """Where our own time goes, at this part of the size; None: each rate is taken under cProfile."""


@attrs.define
class Series:
    """The rounds of one contender."""

    name: str
    values: list[float] = attrs.field(factory=list)
    busy: list[float] = attrs.field(factory=list)
    """Of each round: in which part of the time it had a processor. Of costs, and of who waits by himself:
    which part of the processors others left to it. Far below 1, others were at work here. Empty: it
    cannot be told, or does not matter."""
    rounds: list[Mapping[str, float]] = attrs.field(factory=list)
    """The facts of each round."""

    @property
    def facts(self) -> dict[str, float]:
        """The median of each fact."""
        names = self.rounds[0] if self.rounds else {}
        return {name: median(facts[name] for facts in self.rounds) for name in names}

    @property
    def median(self) -> float:
        return median(self.values)

    @property
    def by_processor_time(self) -> list[float]:
        """A rate for each second in which it had a processor: what a quiet machine would show. (Of threads
        that wait for each other it says too much.)"""
        return [value / share for value, share in zip(self.values, self.busy, strict=True)]


@attrs.frozen
class Verdict:
    """A target, and what was reached."""

    target: Target
    value: float
    """In the direction of the target's words: of ours, or ours divided by theirs."""
    unlike: Mapping[str, tuple[float, float]]
    """As ``Result.unlike``, for a target that compares."""

    @property
    def met(self) -> bool:
        return self.target.at_least <= self.value <= self.target.at_most


@attrs.define
class Result:
    """The rounds of one measure."""

    measure: Measure
    series: dict[str, Series]

    def ratio(self, name: str, fact: str | None = None) -> float:
        """Ours divided by ``name``'s, be it a rate or a cost: the median of the ratios of the rounds."""
        return _ratio(self._numbers(OURS, fact), self._numbers(name, fact))

    def ratio_by_processor_time(self, name: str) -> float:
        """The same of rates, as a quiet machine would show them."""
        return _ratio(self.series[OURS].by_processor_time, self.series[name].by_processor_time)

    def _numbers(self, name: str, fact: str | None) -> Sequence[float]:
        one = self.series[name]
        return one.values if fact is None else [facts[fact] for facts in one.rounds]

    def unlike(self, name: str) -> dict[str, tuple[float, float]]:
        """What was to be alike and is not: of ours and of ``name``."""
        ours, theirs = self.series[OURS].facts, self.series[name].facts
        known = [fact for fact in self.measure.alike if fact in ours and fact in theirs]
        pairs = {fact: (ours[fact], theirs[fact]) for fact in known}
        return {fact: pair for fact, pair in pairs.items() if max(pair) - min(pair) > UNLIKE * max(pair)}

    def verdicts(self) -> list[Verdict]:
        """Each target that can be judged: its peer may not be installed."""
        return [
            self._judged(target)
            for target in self.measure.targets
            if OURS in self.series and (target.versus is None or target.versus in self.series)
        ]

    def _judged(self, target: Target) -> Verdict:
        if target.versus is not None:
            return Verdict(target, self.ratio(target.versus, target.fact), self.unlike(target.versus))
        ours = self.series[OURS]
        return Verdict(target, ours.median if target.fact is None else ours.facts[target.fact], {})


def _ratio(ours: Sequence[float], theirs: Sequence[float]) -> float:
    return median(a / b for a, b in zip(ours, theirs, strict=True))


def run_measure(
    measure: Measure, rounds: int, scale: float, progress: Callable[[str], None] = lambda _: None
) -> Result:
    """Take ``rounds`` rounds of a measure, each of ``scale`` times its size, after a smaller one to warm up.

    ``progress`` is told what is under way.
    """
    contenders = [contender for contender in measure.contenders if contender.available()]
    series = {contender.name: Series(contender.name) for contender in contenders}
    rounds = min(rounds, measure.rounds_at_most)
    for number in range(rounds + 1):
        first = number % max(1, len(contenders))
        for contender in [*contenders[first:], *contenders[:first]]:
            progress(f"{measure.name}: round {number} of {rounds}: {contender.name}")
            size = scale * measure.times * contender.share
            if number == 0 and not measure.of_costs:
                contender.take(max(1, round(size / 5)))
            elif number > 0:
                _take(measure, contender, max(1, round(size)), series[contender.name])
    return Result(measure, {name: one for name, one in series.items() if one.values})


def _take(measure: Measure, contender: Contender, times: int, series: Series) -> None:
    gc.collect()
    others = Others(os.sched_getaffinity(0), own_s) if hasattr(os, "sched_getaffinity") else None
    cpu, wall = time.process_time(), time.perf_counter()
    value = contender.take(times)
    cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
    if value is None:
        return
    taken = value if isinstance(value, Taken) else Taken(value, {})
    series.values.append(taken.value if measure.of_costs else times / taken.value)
    series.rounds.append(taken.facts)
    if measure.of_bytes:
        return
    if measure.keeps_busy:
        series.busy.append(min(1.0, cpu / wall))
    elif taken.quiet is not None:
        series.busy.append(taken.quiet)
    elif others is not None and (share := others.share()) is not None:
        series.busy.append(1 - share)
