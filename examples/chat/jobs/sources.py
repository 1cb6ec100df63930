"""One Python file, read without running it: what it defines, what it takes from elsewhere, what it offers."""

from __future__ import annotations

import ast
import re
import warnings
from collections.abc import Iterable, Iterator
from pathlib import Path

import attrs

MAX_SOURCE_BYTES = 2 * 1024 * 1024
"""A larger file is data that happens to be Python (tables of characters); it is passed over."""
MAX_SIGNATURE = 400
"""Characters of a signature that are kept."""
MAX_DOC = 16_000
"""Characters of a docstring that are kept."""
FIELD_DECORATORS = frozenset({"define", "frozen", "mutable", "dataclass", "s", "attrs", "attributes"})
"""Decorators that make an ``__init__`` of the annotated fields."""

DOTTED = re.compile(r"\b[A-Za-z_]\w*(?:\.[A-Za-z_]\w*){1,5}")
IMPORTED = re.compile(r"^[ \t]*(?:import|from)[ \t]+([A-Za-z_]\w*)", re.MULTILINE)


class Unreadable(Exception):
    """A file that cannot be parsed; says why."""


@attrs.frozen
class Definition:
    """A class, a function or a method as it is written down."""

    name: str
    kind: str
    """``class``, ``function`` or ``method``."""
    signature: str
    doc: str
    line: int
    members: tuple[Definition, ...] = ()


@attrs.frozen
class Source:
    """One module. The mappings are filled while it is read and not touched after that."""

    module: str
    is_package: bool
    file: str
    """Relative to the folder that it is installed in."""
    doc: str = ""
    definitions: dict[str, Definition] = attrs.field(factory=dict)
    imports: dict[str, tuple[str, str]] = attrs.field(factory=dict)
    """Local name → (absolute module, name there)."""
    renamed: set[str] = attrs.field(factory=set)
    """Local names that were imported with an ``as``, be it the same name."""
    stars: list[str] = attrs.field(factory=list)
    """Absolute modules that ``import *`` takes from."""
    aliases: dict[str, str] = attrs.field(factory=dict)
    """``new = old`` at the top level."""
    mentions: frozenset[str] = frozenset()
    """Dotted names below a module that it imports, or its own package: in code, docstrings, comments."""
    declared: set[str] | None = None
    """What ``__all__`` says, as far as it is written out; None without one."""


def read(module: str, file: str, path: Path) -> Source:
    """Parse ``path``, which is ``module``.

    Raises ``Unreadable`` naming the cause: too large, no syntax of this Python, not there.
    """
    try:
        if (size := path.stat().st_size) > MAX_SOURCE_BYTES:
            raise Unreadable(f"{size} bytes are more than the {MAX_SOURCE_BYTES} that are read")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of other people's escape sequences
            text = path.read_bytes()
            tree = ast.parse(text, filename=file)
    except (OSError, SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise Unreadable(f"{type(error).__name__}: {error}") from error
    source = Source(module, path.name == "__init__.py", file, _doc(tree))
    declared: set[str] = set()
    has_all = False
    for node in _statements(tree.body):
        if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            _keep(source.definitions, _definition(node))
        elif isinstance(node, ast.ImportFrom):
            _import(source, node)
        elif (names := _assigned_all(node)) is not None:
            has_all = True
            declared |= names
        elif isinstance(node, ast.Assign) and isinstance(node.value, ast.Name):
            for target in node.targets:
                if isinstance(target, ast.Name):
                    source.aliases.setdefault(target.id, node.value.id)
    return attrs.evolve(
        source, declared=declared if has_all and declared else None, mentions=_mentions(source, text)
    )


def _mentions(source: Source, text: bytes) -> frozenset[str]:
    code = text.decode("utf-8", "replace")
    heads = {match[1] for match in IMPORTED.finditer(code)} | {source.module.split(".", 1)[0]}
    names = {match[0] for match in DOTTED.finditer(code) if match[0].split(".", 1)[0] in heads}
    return frozenset(names | {f"{module}.{name}" for module, name in source.imports.values()})


def _statements(body: Iterable[ast.stmt]) -> Iterator[ast.stmt]:
    """The statements that run when a module is imported, whichever branch is taken."""
    for node in body:
        if isinstance(node, ast.If):
            yield from _statements([*node.body, *node.orelse])
        elif isinstance(node, ast.Try):
            handlers = [statement for handler in node.handlers for statement in handler.body]
            yield from _statements([*node.body, *node.orelse, *handlers, *node.finalbody])
        elif isinstance(node, ast.With):
            yield from _statements(node.body)
        else:
            yield node


def _keep(into: dict[str, Definition], found: Definition | None) -> None:
    """The first definition of a name counts, unless a later one has the docstring."""
    if found is not None and (found.name not in into or (found.doc and not into[found.name].doc)):
        into[found.name] = found


def _doc(node: ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef) -> str:
    return (ast.get_docstring(node) or "")[:MAX_DOC]


def _decorators(node: ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef) -> set[str]:
    names = set()
    for decorator in node.decorator_list:
        target = decorator.func if isinstance(decorator, ast.Call) else decorator
        names.add(target.attr if isinstance(target, ast.Attribute) else getattr(target, "id", ""))
    return names


def _definition(
    node: ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef, *, member: bool = False
) -> Definition | None:
    decorators = _decorators(node)
    if isinstance(node, ast.ClassDef):
        return _class(node, decorators)
    if "overload" in decorators or "setter" in decorators or "deleter" in decorators:
        return None
    arguments = node.args
    if member and "staticmethod" not in decorators:
        arguments = _without_self(arguments)
    text = f"{node.name}({ast.unparse(arguments)})"
    if decorators & {"property", "cached_property"}:
        text = node.name
    if node.returns is not None:
        text += f" -> {ast.unparse(node.returns)}"
    prefix = "async " if isinstance(node, ast.AsyncFunctionDef) else ""
    kind = "method" if member else "function"
    return Definition(node.name, kind, _short(prefix + text), _doc(node), node.lineno)


def _class(node: ast.ClassDef, decorators: set[str]) -> Definition:
    members: dict[str, Definition] = {}
    made, doc = "", _doc(node)
    for item in node.body:
        if not isinstance(item, ast.FunctionDef | ast.AsyncFunctionDef):
            continue
        if item.name == "__init__":
            made = ast.unparse(_without_self(item.args))
            doc = "\n\n".join(filter(None, (doc, _doc(item))))[:MAX_DOC]
        elif not item.name.startswith("_"):
            _keep(members, _definition(item, member=True))
    if not made and decorators & FIELD_DECORATORS:
        fields = [item for item in node.body if isinstance(item, ast.AnnAssign)]
        made = ", ".join(f"{ast.unparse(item.target)}: {ast.unparse(item.annotation)}" for item in fields)
    signature = f"class {node.name}({made})"
    return Definition(node.name, "class", _short(signature), doc, node.lineno, tuple(members.values()))


def _without_self(arguments: ast.arguments) -> ast.arguments:
    if arguments.posonlyargs:
        return ast.arguments(**{**dict(ast.iter_fields(arguments)), "posonlyargs": arguments.posonlyargs[1:]})
    return ast.arguments(**{**dict(ast.iter_fields(arguments)), "args": arguments.args[1:]})


def _short(text: str) -> str:
    return text if len(text) <= MAX_SIGNATURE else text[: MAX_SIGNATURE - 1] + "…"


def _import(source: Source, node: ast.ImportFrom) -> None:
    target = node.module or ""
    if node.level:
        parts = source.module.split(".")
        up = node.level - (1 if source.is_package else 0)
        if up > len(parts):
            return
        target = ".".join([*parts[: len(parts) - up], *([target] if target else [])])
    for name in node.names:
        if name.name == "*":
            source.stars.append(target)
        else:
            source.imports.setdefault(name.asname or name.name, (target, name.name))
            if name.asname is not None:
                source.renamed.add(name.asname)


def _assigned_all(node: ast.stmt) -> set[str] | None:
    """The names that a statement puts into ``__all__``; None if it is no such statement."""
    if isinstance(node, ast.Assign):
        targets, value = node.targets, node.value
    elif isinstance(node, ast.AnnAssign | ast.AugAssign) and node.value is not None:
        targets, value = [node.target], node.value
    else:
        return None
    if not any(isinstance(target, ast.Name) and target.id == "__all__" for target in targets):
        return None
    return {
        item.value
        for part in ast.walk(value)
        if isinstance(part, ast.List | ast.Tuple)
        for item in part.elts
        if isinstance(item, ast.Constant) and isinstance(item.value, str)
    }
