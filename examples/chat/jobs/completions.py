"""A client for any endpoint that speaks the OpenAI protocol: streamed chat completions, list of models.

Every failure is one of two kinds. ``Unavailable`` may go away by itself (no connection, a stall, 408, 429,
5xx, a stream that was cut): ask again, not before ``after`` seconds if the server said so. ``Refused`` will
not: another 4xx, or an answer that is not of this protocol.
"""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

import attrs
import trio

try:
    import httpx
    import httpx_sse
except ImportError as error:  # the rest of the chat works without them
    raise ImportError(
        f"a model can be asked only with httpx and httpx-sse ({error}): pip install -e '.[chat]'"
    ) from error

MAX_ERROR_BYTES = 16 * 1024
"""Of the body of an error that are read for its message."""
MAX_MESSAGE = 500
"""Characters of a server's message that are passed on."""
MAX_ANSWER = 2_000_000
"""Characters of one completion."""
DRAIN_S = 1.0
"""Seconds that a server has to end a stream that it said is done; then the connection is dropped."""
AT_END = {
    "length": "\n\n*(The model stopped here: it may not say more at once.)*",
    "content_filter": "\n\n*(The server left out the rest: its filter objected.)*",
}
"""What is said of a completion that ended for another reason than being complete."""
RETRIED = frozenset({408, 429})
"""The 4xx that may go away by themselves. (All 5xx may.)"""


class ModelError(Exception):
    """Something went wrong with a call of the model."""


class Unavailable(ModelError):
    """It may work later; ``after`` is how many seconds the server asked to wait, None if it did not say."""

    def __init__(self, message: str, after: float | None = None) -> None:
        super().__init__(message)
        self.after = after


class Refused(ModelError):
    """It will not work by being asked again."""


@attrs.frozen(kw_only=True)
class Endpoint:
    """Where the model is, and how long to wait for it."""

    base_url: str
    """Up to and including the version, as ``http://127.0.0.1:8080/v1``."""
    api_key: str | None = attrs.field(default=None, repr=False)
    model: str | None = None
    """None: the first that the endpoint lists."""
    connect_timeout_s: float = 10.0
    read_timeout_s: float = 60.0
    """Between two pieces of an answer: a model that is silent for longer has stalled."""


class _Reading:
    """The events of one completion, up to its end or to the first thing that goes wrong."""

    def __init__(
        self, on_text: Callable[[str], Awaitable[None]], piece: Callable[[str], tuple[str, str | None]]
    ) -> None:
        self._on_text = on_text
        self._piece = piece
        self._size = 0
        self.finished = False
        """The completion is whole."""
        self.done = False
        """The server said that nothing more comes."""
        self.failure: Exception | None = None

    async def take(self, data: str, scope: trio.CancelScope) -> None:
        """One event. At the end, or when something went wrong, ``scope`` is cancelled."""
        if self.done or self.failure is not None:
            return
        try:
            if data.strip() == "[DONE]":
                self.finished = self.done = True
                scope.deadline = trio.current_time() + DRAIN_S
                return
            text, reason = self._piece(data)
            text += AT_END.get(reason or "", "")
            self._size += len(text)
            if self._size > MAX_ANSWER:
                raise Refused(f"the model's answer has more than {MAX_ANSWER} characters")
            if text:
                await self._on_text(text)
            self.finished = self.finished or reason is not None
        except Exception as error:
            self.failure = error
            scope.cancel()


class Completions:
    """Calls to one endpoint. Made by ``open_completions``, which closes its connections."""

    def __init__(self, client: httpx.AsyncClient, endpoint: Endpoint, wall: Callable[[], datetime]) -> None:
        self._client = client
        self._endpoint = endpoint
        self._wall = wall

    async def model(self) -> str:
        """The model to ask: the one that was set, else the first of ``/models``.

        Raises ``Unavailable``, ``Refused``.
        """
        if self._endpoint.model:
            return self._endpoint.model
        try:
            async with self._client.stream("GET", "models") as response:
                await self._check(response)
                body = await _read(response, 1024 * 1024)
        except httpx.TransportError as error:
            raise self._unavailable(error) from error
        try:
            return str(json.loads(body)["data"][0]["id"])
        except (ValueError, LookupError, TypeError) as error:
            raise Refused(f"{self._at('models')} lists no model: set OPENAI_MODEL") from error

    async def complete(
        self,
        model: str,
        messages: Sequence[Mapping[str, str]],
        on_text: Callable[[str], Awaitable[None]],
        **options: Any,
    ) -> None:
        """Ask for a completion; ``on_text`` gets its text piece by piece. Returns when it is complete.

        Raises ``Unavailable`` (also if the stream ends before the completion does), ``Refused``, and what
        ``on_text`` raises.

        **Cancellation**: the connection is dropped; most servers stop computing then.
        """
        request = {"model": model, "messages": list(messages), "stream": True, **options}
        reading = _Reading(on_text, self._piece)
        try:
            async with httpx_sse.aconnect_sse(
                self._client, "POST", "chat/completions", json=request
            ) as source:
                await self._check(source.response)
                # httpx reads through several async generators. Leaving the loop would abandon them half-way,
                # finished by nobody; a cancellation while they wait for the network unwinds them all.
                with trio.CancelScope() as scope:
                    async for event in source.aiter_sse():
                        await reading.take(event.data, scope)
        except httpx_sse.SSEError as error:
            raise Refused(f"{self._at('chat/completions')} does not stream: {error}") from error
        except httpx.TransportError as error:
            if reading.failure is None and not reading.done:
                raise self._unavailable(error) from error
        if reading.failure is not None:
            raise reading.failure
        if not reading.finished:
            raise Unavailable(f"{self._at('chat/completions')} cut its answer short")

    def _piece(self, data: str) -> tuple[str, str | None]:
        """The text in one event and, in the last one, why the completion ended."""
        try:
            chunk = json.loads(data)
            if "error" in chunk:
                raise self._error_in_stream(chunk["error"])
            if not (choices := chunk["choices"]):  # the one that tells the usage
                return "", None
            delta, reason = choices[0].get("delta") or {}, choices[0].get("finish_reason")
            text = delta.get("content") or ""
            if not isinstance(text, str) or not isinstance(reason, str | None):
                raise TypeError("content and finish_reason are no strings")
        except (ValueError, LookupError, TypeError, AttributeError) as error:
            shown = data if len(data) <= 200 else data[:200] + "…"
            raise Refused(f"{self._at('chat/completions')} sent what is no completion: {shown!r}") from error
        # One half of a surrogate pair is legal JSON and no text.
        return text.encode("utf-8", "replace").decode(), reason

    def _error_in_stream(self, error: Any) -> ModelError:
        message = _message(json.dumps({"error": error}).encode())
        code = error.get("code") if isinstance(error, dict) else None
        if isinstance(code, int) and 400 <= code < 500 and code not in RETRIED:
            return Refused(f"{self._at('chat/completions')}: {message}")
        return Unavailable(f"{self._at('chat/completions')} broke off: {message}")

    async def _check(self, response: httpx.Response) -> None:
        """Raise what a status other than 2xx means."""
        if response.is_success:
            return
        status = f"{response.status_code} {response.reason_phrase}".strip()
        body = await _read(response, MAX_ERROR_BYTES)
        message = (
            f"{self._at(response.request.url.path.rsplit('/', 1)[-1])} answered {status}: {_message(body)}"
        )
        if response.status_code in RETRIED or response.status_code >= 500:
            if _code(body) == "insufficient_quota":  # a 429 that does not go away by waiting
                raise Refused(message)
            raise Unavailable(message, retry_after(response.headers.get("Retry-After"), self._wall()))
        raise Refused(message)

    def _unavailable(self, error: httpx.TransportError) -> Unavailable:
        if isinstance(error, httpx.ReadTimeout):
            return Unavailable(f"{self._at()} was silent for {self._endpoint.read_timeout_s:g} s")
        return Unavailable(f"{self._at()} cannot be reached: {str(error) or type(error).__name__}")

    def _at(self, path: str = "") -> str:
        return f"{self._client.base_url.copy_with(userinfo=b'')}{path}"


@asynccontextmanager
async def open_completions(
    endpoint: Endpoint, wall: Callable[[], datetime] = lambda: datetime.now(UTC)
) -> AsyncGenerator[Completions, None]:
    """Calls to ``endpoint``; ``wall`` tells the time of day, for dates in ``Retry-After``.

    Raises ``Refused`` for an address that is none.

    **Resources**: its connections are closed at the end of the ``async with``.
    """
    headers = {"Authorization": f"Bearer {endpoint.api_key}"} if endpoint.api_key else {}
    timeout = httpx.Timeout(endpoint.read_timeout_s, connect=endpoint.connect_timeout_s)
    legal = "legal is http(s)://host[:port]/path"
    try:
        url = httpx.URL(endpoint.base_url.rstrip("/") + "/")
    except (httpx.InvalidURL, ValueError) as error:
        raise Refused(f"OPENAI_BASE_URL={endpoint.base_url!r} is no address ({error}): {legal}") from error
    if url.scheme not in ("http", "https") or not url.host:
        raise Refused(f"OPENAI_BASE_URL={endpoint.base_url!r} is no address: {legal}")
    async with httpx.AsyncClient(base_url=url, headers=headers, timeout=timeout) as client:
        yield Completions(client, endpoint, wall)


def retry_after(header: str | None, now: datetime) -> float | None:
    """Seconds that a ``Retry-After`` header asks to wait (a number or a date); None if it says nothing."""
    if header is None:
        return None
    try:
        return max(0.0, float(int(header.strip())))
    except ValueError:
        pass
    try:
        date = parsedate_to_datetime(header)
    except ValueError:
        return None
    if date.tzinfo is None:
        date = date.replace(tzinfo=UTC)
    return max(0.0, (date - now).total_seconds())


async def _read(response: httpx.Response, limit: int) -> bytes:
    """The first ``limit`` bytes of a body."""
    body = bytearray()
    with trio.CancelScope() as scope:  # not a break: see ``complete``
        async for piece in response.aiter_bytes():
            body += piece[: limit - len(body)]
            if len(body) == limit:
                scope.cancel()
    return bytes(body)


def _code(body: bytes) -> str | None:
    try:
        return str(json.loads(body)["error"]["code"])
    except (ValueError, LookupError, TypeError):
        return None


def _message(body: bytes) -> str:
    """What the server says of an error: the protocol's message, or else the body itself."""
    text = body.decode("utf-8", "replace").strip()
    try:
        error = json.loads(body)["error"]
        text = error if isinstance(error, str) else error["message"]
    except (ValueError, LookupError, TypeError):
        pass
    text = " ".join(str(text).split()) or "no message"
    return text if len(text) <= MAX_MESSAGE else text[: MAX_MESSAGE - 1] + "…"
