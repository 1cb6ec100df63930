"""A small server that speaks the OpenAI protocol, on loopback: it says what it was told, faults too."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

import attrs
import h11
import trio


def chunk(text: str | None = None, finish: str | None = None) -> str:
    """One event of a completion."""
    delta = {} if text is None else {"content": text}
    data = {
        "object": "chat.completion.chunk",
        "choices": [{"index": 0, "delta": delta, "finish_reason": finish}],
    }
    return json.dumps(data)


@attrs.frozen
class Says:
    """A completion: its pieces, as a stream that ends as it should."""

    pieces: tuple[str, ...]
    finish: str = "stop"


@attrs.frozen
class Sends:
    """Any stream at all: ``data:`` events as given; then the end, or a cut connection."""

    events: tuple[str, ...]
    cut: bool = False


@attrs.frozen
class Answers:
    """A plain answer."""

    status: int
    body: str = ""
    headers: tuple[tuple[str, str], ...] = ()


@attrs.frozen
class Stalls:
    """Some pieces, and then nothing until the client goes away."""

    pieces: tuple[str, ...] = ()
    ended: bool = False
    """Say first that nothing more will come."""


Script = Says | Sends | Answers | Stalls


@attrs.define
class FakeOpenAI:
    """What the server was asked, and what it will answer: one item of ``script`` for each completion."""

    base_url: str
    script: list[Script] = attrs.Factory(list)
    models: Answers = Answers(200, json.dumps({"data": [{"id": "small-1"}, {"id": "large-2"}]}))
    asked: list[dict[str, Any]] = attrs.Factory(list)
    """The JSON bodies of the completions."""
    headers: list[dict[str, str]] = attrs.Factory(list)
    """The headers of every request, in lower case."""

    async def serve(self, stream: trio.SocketStream) -> None:
        """Answer the requests of one connection."""
        connection = h11.Connection(h11.SERVER)
        async with stream:
            try:
                while (request := await self._request(connection, stream)) is not None:
                    target, body = request
                    await self._respond(connection, stream, target, body)
                    if connection.our_state is not h11.DONE:
                        return
                    connection.start_next_cycle()
            except (trio.BrokenResourceError, h11.RemoteProtocolError):
                return  # the client went away

    async def _request(
        self, connection: h11.Connection, stream: trio.SocketStream
    ) -> tuple[str, bytes] | None:
        target, body = "", b""
        while True:
            event = connection.next_event()
            if event is h11.NEED_DATA:
                connection.receive_data(await stream.receive_some())
            elif isinstance(event, h11.Request):
                target = event.target.decode()
                self.headers.append({name.decode(): value.decode() for name, value in event.headers})
            elif isinstance(event, h11.Data):
                body += event.data
            elif isinstance(event, h11.EndOfMessage):
                return target, body
            else:
                return None

    async def _respond(
        self, connection: h11.Connection, stream: trio.SocketStream, target: str, body: bytes
    ) -> None:
        if target.endswith("/models"):
            answer: Script = self.models
        elif target.endswith("/chat/completions"):
            self.asked.append(json.loads(body))
            answer = self.script.pop(0)
        else:
            answer = Answers(404, "no such path")
        if isinstance(answer, Answers):
            await self._plain(connection, stream, answer)
        else:
            await self._stream(connection, stream, answer)

    async def _plain(self, connection: h11.Connection, stream: trio.SocketStream, answer: Answers) -> None:
        body = answer.body.encode()
        headers = [*answer.headers, ("Content-Length", str(len(body)))]
        data = connection.send(h11.Response(status_code=answer.status, headers=headers)) or b""
        data += connection.send(h11.Data(data=body)) or b""
        await stream.send_all(data + (connection.send(h11.EndOfMessage()) or b""))

    async def _stream(
        self, connection: h11.Connection, stream: trio.SocketStream, answer: Says | Sends | Stalls
    ) -> None:
        head = h11.Response(status_code=200, headers=[("Content-Type", "text/event-stream; charset=utf-8")])
        await stream.send_all(connection.send(head) or b"")
        if isinstance(answer, Sends):
            events = list(answer.events)
        else:
            events = [chunk(piece) for piece in answer.pieces]
        if isinstance(answer, Says):
            events += [chunk(finish=answer.finish), "[DONE]"]
        elif isinstance(answer, Stalls) and answer.ended:
            events.append("[DONE]")
        for event in events:
            await stream.send_all(connection.send(h11.Data(data=f"data: {event}\n\n".encode())) or b"")
        if isinstance(answer, Stalls):
            await stream.receive_some()  # until the client has had enough
            connection.send_failed()
        elif isinstance(answer, Sends) and answer.cut:
            connection.send_failed()
        else:
            await stream.send_all(connection.send(h11.EndOfMessage()) or b"")


@asynccontextmanager
async def fake_openai(*script: Script) -> AsyncGenerator[FakeOpenAI, None]:
    """Serve on a free port of the loopback for as long as the ``async with`` lasts."""
    async with trio.open_nursery() as nursery:
        listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
        port = listeners[0].socket.getsockname()[1]
        server = FakeOpenAI(f"http://127.0.0.1:{port}/v1", list(script))
        await nursery.start(trio.serve_listeners, server.serve, listeners)
        yield server
        nursery.cancel_scope.cancel()
