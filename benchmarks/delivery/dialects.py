"""What a client says to a server of each kind, and what it is answered."""

from __future__ import annotations

import json

from benchmarks.delivery.scenario import FILLER, Scenario


def frame(text: str) -> bytes:
    """A client's text frame. The mask is zero: legal, and no work."""
    payload = text.encode()
    size = len(payload)
    head = bytes((0x81, 0x80 | size)) if size < 126 else bytes((0x81, 0xFE)) + size.to_bytes(2, "big")
    return head + bytes(4) + payload


def ack(sent: int) -> bytes:
    """trouper's client has taken output up to there."""
    return frame(json.dumps([{"t": "ack", "sent": sent}]))


def upgrade(path: str, protocol: str = "") -> bytes:
    lines = [
        f"GET {path} HTTP/1.1",
        "Host: 127.0.0.1",
        "Connection: Upgrade",
        "Upgrade: websocket",
        "Sec-WebSocket-Version: 13",
        "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==",
    ]
    if protocol:
        lines.append(f"Sec-WebSocket-Protocol: {protocol}")
    return ("\r\n".join(lines) + "\r\n\r\n").encode()


class Dialect:
    """``kind``: trouper, plain, ws or socket.io. ``jobs``: trouper's names of the streams."""

    def __init__(self, kind: str, scenario: Scenario, jobs: list[str] | None) -> None:
        self.kind = kind
        self._scenario = scenario
        self._jobs = jobs

    @property
    def acks(self) -> bool:
        """Whether a client tells what it has taken."""
        return self.kind == "trouper"

    @property
    def message(self) -> bytes:
        """What each message with output holds once."""
        return b'"t":"output"' if self.kind == "trouper" else b'"text":'

    def steps(self, number: int, *, attach: bool) -> list[tuple[bytes, bytes]]:
        """From the connection to being ready, as the ``number``th session: (what it waits for, what it
        says then). Who asks for a stream is ready when it has all that lies in its log (one piece)."""
        stream = number // self._scenario.sessions
        log = [(FILLER.encode(), b"")] if attach and self._scenario.prefill_bytes else []
        return [*self._greeting(stream, attach=attach), *log]

    def _greeting(self, stream: int, *, attach: bool) -> list[tuple[bytes, bytes]]:
        if self.kind == "trouper":
            hello: list[dict[str, object]] = [{"t": "hello", "visible": True, "token": f"u{stream}"}]
            if attach:
                hello.append(self._attach(stream))
            return [
                (b"", upgrade("/ws", "trouper.v1")),
                (b"\r\n\r\n", frame(json.dumps(hello))),
                (b'"snapshot"', b""),
            ]
        stream %= self._scenario.streams
        if self.kind == "socket.io":
            return [
                (b"", upgrade("/socket.io/?EIO=4&transport=websocket")),
                (b"0{", frame("40")),
                (b"40{", frame(f'42["subscribe",{stream}]')),
                (b"subscribed", b""),
            ]
        return [
            (b"", upgrade("/")),
            (b"\r\n\r\n", frame(json.dumps({"stream": stream}))),
            (b"subscribed", b""),
        ]

    def _attach(self, stream: int) -> dict[str, object]:
        assert self._jobs is not None
        return {"t": "attach", "job": self._jobs[stream], "attempt": 1, "n": 0}

    def asks(self) -> bytes:
        """Asks for the first stream, on a session that is ready."""
        if self.kind == "trouper":
            return frame(json.dumps([self._attach(0)]))
        if self.kind == "socket.io":
            return frame('42["subscribe",0]')
        return frame('{"stream":0}')
