"""The public interface of a distribution: which names its users see, and where those are defined.

Many packages define things in private modules and offer them in ``__init__``; what counts here is the
name that a user would write, so re-exports are followed, within the distribution and without running it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

import attrs

from examples.chat.jobs.packages import NOT_API
from examples.chat.jobs.sources import Definition, Source

MAX_HOPS = 20
"""Re-exports of re-exports that are followed."""


@attrs.frozen
class Place:
    """Something public, by the name that a user would write."""

    name: str
    aliases: tuple[str, ...]
    """Other public names of the same thing."""
    kind: str
    """``module``, ``class``, ``function`` or ``method``."""
    signature: str
    doc: str
    file: str
    line: int


def is_public(module: str) -> bool:
    """Whether a module is meant to be imported, by its name alone."""
    return not any(part.startswith("_") or part in NOT_API for part in module.split("."))


class Interface:
    """The public names of one distribution.

    Args:
        own: the top-level name to prefer where one thing has several public names.
        sources: all modules of the distribution, by name.
    """

    def __init__(self, own: str, sources: Mapping[str, Source]) -> None:
        self._own = own
        self._sources = sources

    def places(self) -> list[Place]:
        """Everything public, sorted by name; each thing once, under the shortest of its names."""
        places: list[Place] = []
        names: dict[tuple[str, str], list[str]] = {}
        for module, source in self._sources.items():
            if not is_public(module):
                continue
            places.append(Place(module, (), "module", module, source.doc, source.file, 1))
            for name in self._exports(module):
                if (home := self._resolve(module, name)) is not None:
                    names.setdefault(home, []).append(f"{module}.{name}")
        for (module, name), public in names.items():
            best, *others = sorted(set(public), key=lambda each: self._preference(each, name))
            source = self._sources[module]
            places.extend(_expanded(source, source.definitions[name], best, others))
        return sorted(places, key=lambda place: (place.name, place.line))

    def _preference(self, public: str, defined_as: str) -> tuple[bool, int, bool, str]:
        top, last = public.split(".", 1)[0], public.rsplit(".", 1)[-1]
        return (top.lower() != self._own, public.count("."), last != defined_as, public)

    def _exports(self, module: str, hops: int = 0) -> Iterator[str]:
        """The names that ``module`` offers: what ``__all__`` says; without it, what it defines and what it
        visibly hands on: ``import x as x``; what ``__init__`` imports, if it never says it that way."""
        source = self._sources[module]
        if source.declared is not None:
            yield from source.declared
            return
        for name in (*source.definitions, *source.aliases):
            if not name.startswith("_"):
                yield name
        explicit = any(
            original == name for name, (_, original) in source.imports.items() if name in source.renamed
        )
        for name, (target, original) in source.imports.items():
            if not name.startswith("_") and target in self._sources:
                handed_on = name in source.renamed and (name == original or not is_public(target))
                if handed_on or (source.is_package and not explicit):
                    yield name
        for target in source.stars:
            if target in self._sources and hops < MAX_HOPS:
                yield from (name for name in self._exports(target, hops + 1) if not name.startswith("_"))

    def _resolve(self, module: str, name: str, hops: int = 0) -> tuple[str, str] | None:
        """Where ``name`` of ``module`` is defined: (module, name there); None if that is not a class or a
        function of this distribution."""
        source = self._sources.get(module)
        if source is None or hops > MAX_HOPS:
            return None
        if name in source.definitions:
            return (module, name)
        if name in source.imports:
            target, original = source.imports[name]
            return self._resolve(target, original, hops + 1)
        if (other := source.aliases.get(name)) is not None and other != name:
            return self._resolve(module, other, hops + 1)
        for target in source.stars:
            if (found := self._resolve(target, name, hops + 1)) is not None:
                return found
        return None


def _expanded(source: Source, definition: Definition, best: str, others: Iterable[str]) -> Iterator[Place]:
    """A definition under its public name, and its public methods below that."""
    others = tuple(others)
    signature = definition.signature.replace(definition.name, best.rpartition(".")[2], 1)
    yield Place(best, others, definition.kind, signature, definition.doc, source.file, definition.line)
    for member in definition.members:
        aliases = tuple(f"{other}.{member.name}" for other in others)
        name = f"{best}.{member.name}"
        yield Place(name, aliases, member.kind, member.signature, member.doc, source.file, member.line)
