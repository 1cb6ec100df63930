"""Declaring a job: ``@trouper.job`` makes a ``JobSpec``; its ``call`` makes a validated ``Call``.

A job is an async function of a ``JobContext`` and keyword-only arguments. The arguments are JSON:
they are kept with the row and given to every attempt anew.
"""

from __future__ import annotations

import inspect
import re
import typing
from collections.abc import Awaitable, Callable, Iterable, Mapping
from datetime import date, datetime
from types import SimpleNamespace
from typing import Any, Generic, ParamSpec, TypeVar
from uuid import UUID  # noqa: TID251  # the type: none is made here

import attrs
import cattrs
import orjson
from cattrs.strategies import configure_union_passthrough

from trouper.actors.ended_hook import EndedFunction, EndedHook, check_hook
from trouper.actors.json_text import JSON_DEPTH_MAX, encode_json, too_deep
from trouper.actors.reports import exceptions_only
from trouper.actors.retry import Backoff as Backoff
from trouper.actors.retry import Retry as Retry
from trouper.store.checks import need_options, wrong_number
from trouper.store.errors import TrouperError
from trouper.store.records import JobOptions, JobState

R = TypeVar("R")
P = ParamSpec("P")

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]{0,63}")
_TERMINAL = tuple(state.value for state in JobState if state.terminal)


class BadArguments(TrouperError):
    """Arguments that do not fit a job's signature; says which and what is legal."""


class Fail(TrouperError):
    """Raised in a job: it ends ``failed`` with this message, and is not retried."""


class Again(TrouperError):
    """Raised in a job: retry it, within its budget, and not before ``after`` seconds."""

    def __init__(self, message: str = "again", *, after: float = 0.0) -> None:
        if wrong_number(after, zero=True) or after > 7 * 86400:
            raise ValueError(f"after={after!r}: legal are 0 to 604800 seconds (a week)")
        super().__init__(message)
        self.after = after


def _strict_converter() -> cattrs.Converter:
    """cattrs coerces ("7" becomes 7): hooks for the plain types make it refuse instead."""
    converter = cattrs.Converter(forbid_extra_keys=True)

    def hook(kind: type, *legal: type) -> None:
        def structure(value: Any, _: type) -> Any:
            if type(value) not in legal:
                raise TypeError(f"expected {kind.__name__}, got {type(value).__name__}")
            return kind(value)

        converter.register_structure_hook(kind, structure)

    hook(str, str)
    hook(int, int)
    hook(bool, bool)
    hook(float, float, int)

    def written(kind: type, read: Callable[[str], object]) -> None:
        def structure(value: Any, _: type) -> object:
            if type(value) is not str:
                raise TypeError(f"expected {kind.__name__} as text, got {type(value).__name__}")
            return read(value)

        converter.register_structure_hook(kind, structure)

    written(datetime, datetime.fromisoformat)
    written(date, date.fromisoformat)
    written(UUID, UUID)
    configure_union_passthrough(str | int | float | bool | None, converter)
    return converter


_STRICT = _strict_converter()


@attrs.frozen
class Call:
    """A job and its arguments, checked: what ``runtime.submit`` takes."""

    spec: JobSpec[Any, Any]
    arguments: str
    """Canonical JSON: sorted keys, no spaces."""


@attrs.frozen(kw_only=True)
class JobSpec(Generic[P, R]):
    """A declared job. Calling it calls the function itself, for tests of its own."""

    name: str
    function: Callable[..., Awaitable[R]]
    timeout_s: float | None = None
    idle_timeout_s: float | None = None
    queue_timeout_s: float | None = None
    retry: Retry = Retry()
    on_process_death: str = "retry"
    notify_on: tuple[str, ...] = JobOptions().notify_on
    client: bool = False
    """Whether clients may submit it."""
    _hooks: list[EndedHook] = attrs.field(factory=list, eq=False, repr=False)
    """None or one: it is declared after the job."""

    def __call__(self, *args: Any, **kwargs: Any) -> Awaitable[R]:
        return self.function(*args, **kwargs)

    @property
    def options(self) -> JobOptions:
        """What of the declaration is stored with each job that is submitted."""
        backoff = self.retry.backoff
        return JobOptions(
            attempts=self.retry.attempts,
            backoff_base_s=backoff.base,
            backoff_factor=backoff.factor,
            backoff_max_s=backoff.max,
            timeout_s=self.timeout_s,
            idle_timeout_s=self.idle_timeout_s,
            queue_timeout_s=self.queue_timeout_s,
            on_process_death=self.on_process_death,
            notify_on=self.notify_on,
            on_ended=self.hook is not None,
        )

    @property
    def hook(self) -> EndedHook | None:
        """What ``on_ended`` declared."""
        return self._hooks[0] if self._hooks else None

    @typing.overload
    def on_ended(self, function: EndedFunction, /) -> EndedFunction: ...
    @typing.overload
    def on_ended(
        self, /, *, timeout: float = EndedHook.TIMEOUT_S, retry: Retry = EndedHook.RETRY
    ) -> Callable[[EndedFunction], EndedFunction]: ...
    def on_ended(
        self,
        function: EndedFunction | None = None,
        /,
        *,
        timeout: float = EndedHook.TIMEOUT_S,
        retry: Retry = EndedHook.RETRY,
    ) -> Any:
        """Declare what is done when a job of this kind has ended, however it ended: ``@reply.on_ended``.

        An async function of the ended ``Job``, run by the runtime, at least once: also after a process
        death, and again after it raised, so it should be idempotent (by ``job.id``). A job has the hook if
        it was declared when the job was submitted; one that is declared later is not run for earlier jobs.

        * ``timeout``: seconds that one run may take; then it is cancelled, and has failed.
        * ``retry``: how often, and with which pauses. A hook that failed in all is given up: reported, and
          shown by ``runtime.dead_completions()``.

        **Cancellation**: when the runtime stops, a hook that runs is cancelled, and run again at the next
        start. Raises ``TypeError`` or ``ValueError`` where it is declared, naming the legal forms.
        """

        def declare(function: EndedFunction) -> EndedFunction:
            if self._hooks:
                raise ValueError(f"job {self.name!r} has an on_ended hook already: legal is one")
            self._hooks.append(check_hook(self.name, function, timeout=timeout, retry=retry))
            return function

        return declare if function is None else declare(function)

    def call(self, /, **arguments: Any) -> Call:
        """Check ``arguments`` against the signature. Raises ``BadArguments``."""
        if too_deep(arguments):
            raise BadArguments(f"arguments of {self.name!r}: legal are {JSON_DEPTH_MAX} levels of nesting")
        try:
            encoded = encode_json(_STRICT.unstructure(arguments), orjson.OPT_SORT_KEYS)
        except (TypeError, ValueError) as error:
            raise BadArguments(f"arguments of {self.name!r} are not JSON: {error}") from None
        self.structure(orjson.loads(encoded))
        return Call(self, encoded.decode())

    def hints(self) -> dict[str, Any]:
        """What the arguments are annotated with. That of the context is left alone: it may be imported for
        type checkers only. Raises ``TypeError``, naming a parameter whose annotation cannot be found."""
        inner = inspect.unwrap(getattr(self.function, "func", self.function))
        around = getattr(inner, "__globals__", {})
        hints: dict[str, Any] = {}
        for name, parameter in _parameters(self.function).items():
            one = SimpleNamespace(__annotations__={name: parameter.annotation})
            try:
                hints |= {} if parameter.annotation is parameter.empty else typing.get_type_hints(one, around)
            except NameError as error:
                what = f"parameter {name!r} of job {self.name!r} is annotated {parameter.annotation!r}"
                legal = "what its module has at run time, not under TYPE_CHECKING or inside of a function"
                raise TypeError(f"{what}, but {error}: legal is {legal}") from None
        return hints

    def structure(self, arguments: Mapping[str, Any]) -> dict[str, Any]:
        """Keyword arguments for the function from decoded JSON, strictly by its signature."""
        parameters = _parameters(self.function)
        hints = self.hints()
        unknown = sorted(set(arguments) - set(parameters))
        missing = sorted(
            name
            for name, parameter in parameters.items()
            if parameter.default is parameter.empty and name not in arguments
        )
        if unknown or missing:
            wrong = [f"{n!r} is not one of them" for n in unknown] + [f"{n!r} is missing" for n in missing]
            raise BadArguments(
                f"arguments of {self.name!r}: {', '.join(wrong)}; legal are {self._signature(hints)}"
            )
        structured: dict[str, Any] = {}
        for name, value in arguments.items():
            try:
                with exceptions_only():  # a type checks itself as it likes
                    structured[name] = _STRICT.structure(value, hints.get(name, Any))
            except Exception as error:
                legal = self._signature(hints)
                raise BadArguments(
                    f"argument {name!r} of {self.name!r}: {_reason(error)}; legal are {legal}"
                ) from None
        return structured

    def _signature(self, hints: Mapping[str, Any]) -> str:
        names = [f"{name}: {_said(hints.get(name, Any))}" for name in _parameters(self.function)]
        return f"({', '.join(names)})"


def _said(hint: Any) -> str:
    """An annotation as its author wrote it, about."""
    if isinstance(hint, type) and not typing.get_args(hint):
        return hint.__name__
    return str(hint).replace("typing.", "")


def _reason(error: BaseException) -> str:
    """The innermost cause: cattrs wraps it in groups."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    if isinstance(error, KeyError):  # of an object
        return f"{error.args[0]!r} is missing"
    if isinstance(error, cattrs.StructureHandlerNotFoundError):
        return f"no {_said(error.type_)} can be made of JSON"
    return str(error) or type(error).__name__


def _parameters(function: Callable[..., Any]) -> dict[str, inspect.Parameter]:
    parameters = list(inspect.signature(function).parameters.values())
    return {p.name: p for p in parameters[1:]}


def _check_function(function: Callable[..., Any], name: object) -> None:
    legal = "an async function with one positional parameter (the context) and keyword-only ones"
    if not inspect.iscoroutinefunction(function):
        raise TypeError(f"job {name!r} is {function!r}: legal is {legal}")
    parameters = list(inspect.signature(function).parameters.values())
    positional = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    if not parameters or parameters[0].kind not in positional:
        raise TypeError(f"job {name!r} takes no context: legal is {legal}")
    for parameter in parameters[1:]:
        if parameter.kind is not inspect.Parameter.KEYWORD_ONLY:
            raise TypeError(
                f"parameter {parameter.name!r} of job {name!r} is not keyword-only: legal is {legal}"
            )


@typing.overload
def job(function: Callable[P, Awaitable[R]], /) -> JobSpec[P, R]: ...
@typing.overload
def job(
    *,
    name: str | None = None,
    timeout: float | None = None,
    idle_timeout: float | None = None,
    queue_timeout: float | None = None,
    retry: Retry = Retry(),
    on_process_death: str = "retry",
    notify_on: Iterable[str] = JobOptions().notify_on,
    client: bool = False,
) -> Callable[[Callable[P, Awaitable[R]]], JobSpec[P, R]]: ...
def job(function: Any = None, /, **options: Any) -> Any:
    """Declare an async function as a job.

    * ``name``: what it is registered as; by default the function's own name.
    * ``timeout``: running time over all attempts, in seconds; None for no limit.
    * ``idle_timeout``: how long an attempt may go on without an entry of output, in seconds. Then it is
      retried as after a crash; without attempts left it ends ``timed_out``. Waiting for the store is no
      idleness.
    * ``queue_timeout``: how long it may wait in the queue, in seconds by the wall clock, counted anew each
      time it comes there (a retry too) from when it is due. Then it ends ``timed_out``.
    * ``retry``: ``Retry(attempts=…, backoff=Backoff(…))``; one attempt by default.
    * ``on_process_death``: ``"retry"`` (while attempts remain) or ``"end"`` (it is ``lost``).
    * ``notify_on``: the terminal states that leave a notification; by default all but ``cancelled``.
    * ``client``: whether clients may submit it over the wire.

    Raises ``TypeError`` or ``ValueError`` where it is declared, naming the legal forms.
    """
    if function is not None:
        return _declare(function)
    legal = inspect.signature(_declare).parameters.keys() - {"function"}
    if wrong := sorted(options.keys() - legal):
        raise TypeError(f"a job has no option {wrong[0]!r}: legal are {', '.join(sorted(legal))}")
    return lambda declared: _declare(declared, **options)


def _declare(
    function: Callable[..., Awaitable[R]],
    *,
    name: str | None = None,
    timeout: float | None = None,
    idle_timeout: float | None = None,
    queue_timeout: float | None = None,
    retry: Retry = Retry(),
    on_process_death: str = "retry",
    notify_on: Iterable[str] = JobOptions().notify_on,
    client: bool = False,
) -> JobSpec[Any, R]:
    name = getattr(function, "__name__", "") if name is None else name
    _check_function(function, name)
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise ValueError(
            f"job name {name!r}: legal are 1 to 64 letters, digits, '_', '.', '-', no digit first"
        )
    limits = {"timeout": timeout, "idle_timeout": idle_timeout, "queue_timeout": queue_timeout}
    for what, seconds in limits.items():
        if seconds is not None and wrong_number(seconds):
            raise ValueError(f"{what}={seconds!r} of job {name!r}: legal are None and seconds above 0")
    need_options(f"retry of job {name!r}", retry, Retry)
    if on_process_death not in ("retry", "end"):
        raise ValueError(
            f"on_process_death={on_process_death!r} of job {name!r}: legal are 'retry' and 'end'"
        )
    states = tuple(str(state) for state in notify_on)
    if wrong := [state for state in states if state not in _TERMINAL]:
        raise ValueError(f"notify_on of job {name!r} has {wrong}: legal are {', '.join(_TERMINAL)}")
    return JobSpec(
        name=name,
        function=function,
        timeout_s=timeout,
        idle_timeout_s=idle_timeout,
        queue_timeout_s=queue_timeout,
        retry=retry,
        on_process_death=on_process_death,
        notify_on=states,
        client=client,
    )
