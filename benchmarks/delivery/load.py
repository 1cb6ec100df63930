"""The load generator: plain sockets and one selector, so that the server is what is measured.

python -m benchmarks.delivery.load SCENARIO TARGET     commands on stdin and answers on stdout, JSON lines

It counts tokens in the bytes as they come, without reading the frames, except of every 16th session,
where it looks at each token's age. It says of each measure how busy it was itself.
"""

from __future__ import annotations

import json
import os
import re
import select
import socket
import sys
import time
from collections.abc import Iterable
from typing import Any

from benchmarks.delivery.scenario import FILLER, MARK, TOKEN_BYTES, Scenario

SAMPLED = 16
AT_ONCE = 64  # handshakes under way, where nothing else is asked
PATIENCE_S = 60.0
ACK_BYTES = 128 * 1024  # half of trouper's window

_COUNTED = f"{MARK}0".encode()
_TOKEN = re.compile(rb"#(\d{14})")
_SENT = re.compile(rb'"sent":(\d+)')
_FILLER = FILLER[:1].encode()


def frame(text: str) -> bytes:
    """A client's text frame. The mask is zero: legal, and no work."""
    payload = text.encode()
    size = len(payload)
    head = bytes((0x81, 0x80 | size)) if size < 126 else bytes((0x81, 0xFE)) + size.to_bytes(2, "big")
    return head + bytes(4) + payload


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


class Session:
    """A client. ``steps``: (what it waits for, what it says then); after the last it is ready."""

    __slots__ = ("began", "head", "ready", "sampled", "sock", "steps", "tail")

    def __init__(self, steps: list[tuple[bytes, bytes]], sampled: bool) -> None:
        self.steps = steps
        self.sampled = sampled
        self.head = self.tail = b""
        self.ready: float | None = None
        self.began = time.monotonic()
        self.sock = socket.socket()


class Dialect:
    """What a client says to a server of this kind, and what it is answered."""

    def __init__(self, kind: str, scenario: Scenario, jobs: list[str] | None) -> None:
        self.kind = kind
        self._scenario = scenario
        self._jobs = jobs

    def steps(self, number: int, *, attach: bool) -> list[tuple[bytes, bytes]]:
        """From the connection to being ready, as the ``number``th session."""
        stream = number // self._scenario.sessions
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


class Load:
    """All sessions, and what they were sent."""

    def __init__(self, dialect: Dialect, port: int, server: int) -> None:
        self._dialect = dialect
        self._address = ("127.0.0.1", port)
        self._server_clock = (~server << 3) | 2  # Linux: the processor time of another process
        self._poll = select.epoll()
        self._sessions: dict[int, Session] = {}
        self._waiting = 0
        self._delivered = 0
        self._reads = 0
        self._ages: list[int] = []

    # --- the sockets ---

    def open(self, number: int, *, attach: bool) -> Session:
        session = Session(self._dialect.steps(number, attach=attach), number % SAMPLED == 0)
        session.sock.connect(self._address)
        session.sock.setblocking(False)
        session.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._sessions[session.sock.fileno()] = session
        self._poll.register(session.sock.fileno(), select.EPOLLIN)
        self._waiting += 1
        self._go_on(session)
        return session

    def close(self, session: Session) -> None:
        del self._sessions[session.sock.fileno()]
        self._poll.unregister(session.sock.fileno())
        session.sock.close()

    def pump(self, timeout: float) -> None:
        for fd, _event in self._poll.poll(max(0.0, timeout), 1024):
            session = self._sessions[fd]
            data = session.sock.recv(1 << 18)
            if not data:
                raise RuntimeError(f"the server closed a session: {session.head[-200:]!r}")
            self._take(session, data)

    def _take(self, session: Session, data: bytes) -> None:
        if session.ready is None:
            session.head += data
            self._go_on(session)
            return
        self._reads += 1
        self._delivered += data.count(_COUNTED)
        if session.sampled:
            now = time.monotonic_ns() // 1000
            data = session.tail + data
            self._ages.extend(now - int(made) for made in _TOKEN.findall(data))
            begun = data.rfind(MARK.encode(), -TOKEN_BYTES + 2)
            session.tail = data[begun:] if begun >= 0 else b""

    def _go_on(self, session: Session) -> None:
        while session.steps:
            expected, said = session.steps[0]
            place = session.head.find(expected)
            if place < 0:
                return
            session.head = session.head[place + len(expected) :]
            session.sock.sendall(said)
            del session.steps[0]
        session.ready = time.monotonic()
        self._waiting -= 1

    # --- what it is told to do ---

    def connect(
        self, count: int, over_s: float = 0.0, attach: bool = True, at_most_s: float = PATIENCE_S
    ) -> dict[str, Any]:
        """Open ``count`` sessions, as fast as they are taken or over so many seconds; fewer, if a busy
        machine does not take them within ``at_most_s``."""
        began = time.monotonic()
        cpu = time.clock_gettime(self._server_clock)
        opened: list[Session] = []
        while len(opened) < count or self._waiting:
            now = time.monotonic()
            if now - began > PATIENCE_S:
                raise RuntimeError(f"{self._waiting} of {count} sessions are not ready after {PATIENCE_S} s")
            if now - began > at_most_s:
                count = len(opened)
            allowed = min(count, int(count * (now - began) / over_s) + 1) if over_s else count
            while len(opened) < allowed and (over_s or self._waiting < AT_ONCE):
                opened.append(self.open(len(opened), attach=attach))
            self.pump(0.002 if len(opened) < count else 0.1)
        took = sorted((session.ready or 0.0) - session.began for session in opened)
        return {
            "cpu": time.clock_gettime(self._server_clock) - cpu,
            "seconds": time.monotonic() - began,
            "opened": len(opened),
            "p50": took[len(took) // 2],
            "p99": took[len(took) * 99 // 100],
        }

    def drop(self) -> dict[str, Any]:
        """Close every session, without a word."""
        for session in list(self._sessions.values()):
            self.close(session)
        return {}

    def measure(self, seconds: float) -> dict[str, Any]:
        """Read for so long; what came, what it cost the server, what it cost here."""
        self._pump_for(0.3)  # whatever gathered while nobody read
        self._delivered = self._reads = 0
        self._ages.clear()
        began, cpu = time.monotonic(), time.clock_gettime(self._server_clock)
        own = time.process_time()
        self._pump_for(seconds)
        wall = time.monotonic() - began
        ages = sorted(self._ages) or [0]
        return {
            "wall": wall,
            "cpu": time.clock_gettime(self._server_clock) - cpu,
            "own": (time.process_time() - own) / wall,
            "delivered": self._delivered,
            "reads": self._reads,
            "p50": ages[len(ages) // 2] / 1e6,
            "p99": ages[len(ages) * 99 // 100] / 1e6,
        }

    def _pump_for(self, seconds: float) -> None:
        until = time.monotonic() + seconds
        while (left := until - time.monotonic()) > 0:
            self.pump(left)

    def resume(self, expected: int, times: int) -> dict[str, Any]:
        """One after the other: a session that asks for a stream, until it has so many bytes of it."""
        cpu, wall = [], []
        for _ in range(times):
            session = self.open(0, attach=False)
            while session.ready is None:
                self.pump(0.1)
            self._poll.unregister(session.sock.fileno())
            session.sock.setblocking(True)
            session.sock.settimeout(PATIENCE_S)
            began, used = time.monotonic(), time.clock_gettime(self._server_clock)
            session.sock.sendall(self._dialect.asks())
            self._read_all(session.sock, expected)
            wall.append(time.monotonic() - began)
            cpu.append(time.clock_gettime(self._server_clock) - used)
            self._poll.register(session.sock.fileno(), select.EPOLLIN)
            self.close(session)
        return {"cpu": sorted(cpu)[times // 2], "wall": sorted(wall)[times // 2]}

    def _read_all(self, sock: socket.socket, expected: int) -> None:
        got = acked = 0
        tail = b""
        while got < expected:
            data = sock.recv(1 << 18)
            if not data:
                raise RuntimeError("the server closed a session")
            got += data.count(_FILLER)
            if self._dialect.kind == "trouper":
                sent = _SENT.findall(tail + data)
                tail = data[-32:]
                # A number that is cut at the end of what came is taken whole the next time.
                if sent and int(sent[-1]) - acked >= ACK_BYTES and not data.endswith(sent[-1]):
                    acked = int(sent[-1])
                    sock.sendall(frame(json.dumps([{"t": "ack", "sent": acked}])))

    def wait_until_quiet(self, seconds: float) -> dict[str, Any]:
        """Read until nothing has come for so long."""
        acked: dict[int, int] = {}
        while events := self._poll.poll(seconds, 1024):
            for fd, _event in events:
                session = self._sessions[fd]
                data = session.tail + session.sock.recv(1 << 18)
                session.tail = data[-32:]
                sent = _SENT.findall(data) if self._dialect.kind == "trouper" else ()
                if sent and int(sent[-1]) - acked.get(fd, 0) >= ACK_BYTES and not data.endswith(sent[-1]):
                    acked[fd] = int(sent[-1])
                    session.sock.sendall(frame(json.dumps([{"t": "ack", "sent": acked[fd]}])))
        return {}


def serve(load: Load, lines: Iterable[str]) -> None:
    for line in lines:
        command, arguments = json.loads(line)
        answer = getattr(load, command)(**arguments)
        print(json.dumps(answer), flush=True)


def main() -> None:
    """The process: commands until stdin ends."""
    scenario = Scenario.from_arguments()
    target = json.loads(sys.argv[2])
    if len(target["cores"]):
        os.sched_setaffinity(0, target["cores"])
    dialect = Dialect(target["kind"], scenario, target["jobs"])
    serve(Load(dialect, target["port"], target["pid"]), sys.stdin)


if __name__ == "__main__":
    main()
