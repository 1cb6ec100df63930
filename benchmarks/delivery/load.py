"""The load generator: plain sockets and one selector, so that the server is what is measured.

python -m benchmarks.delivery.load SCENARIO TARGET     commands on stdin and answers on stdout, JSON lines

It reads no frames, keeps what comes, and looks for the tokens when the measured seconds are over. It says
of each measure how busy it was itself, and how much others had of the processors.
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

import attrs

from benchmarks.delivery.arrivals import GRACE_S, Arrivals
from benchmarks.delivery.dialects import Dialect, ack
from benchmarks.delivery.scenario import FILLER, Scenario
from benchmarks.processor import Others

AT_ONCE = 64  # handshakes under way, where nothing else is asked
PATIENCE_S = 60.0
ACK_BYTES = 128 * 1024  # half of trouper's window
READ_BYTES = 256 * 1024
STILL_S, STILL_SHARE, STILL_TIMES = 0.2, 0.02, 3
"""A server that is busy for less than this share of the time, so often one after the other, is at rest."""

_SENT = re.compile(rb'"sent":(\d+)[^\d]')
_FILLER = FILLER[:1].encode()


class Session:
    """A client. ``steps``: (what it waits for, what it says then); after the last it is ready."""

    __slots__ = ("began", "head", "ready", "sock", "steps")

    def __init__(self, steps: list[tuple[bytes, bytes]], began: float) -> None:
        self.steps = steps
        self.head = b""
        self.ready: float | None = None
        self.began = began
        self.sock = socket.socket()


class Meter:
    """What is used from its making on: by the server, by this process, by others on the same cores."""

    def __init__(self, server: int) -> None:
        self._clock = (~server << 3) | 2  # Linux: the processor time of another process
        there, here = os.sched_getaffinity(server), os.sched_getaffinity(0)
        self._others = (
            [Others(there | here, lambda: self._server_s() + time.process_time())]
            if there & here
            else [Others(there, self._server_s), Others(here, time.process_time)]
        )
        self._began, self._cpu, self._own = time.monotonic(), self._server_s(), time.process_time()

    def _server_s(self) -> float:
        return time.clock_gettime(self._clock)

    def cpu(self) -> float:
        """Of the server, in seconds."""
        return self._server_s() - self._cpu

    def taken(self) -> dict[str, float]:
        """Seconds (``wall``, ``cpu`` of the server), and shares (``own``, ``others``: 0 to 1)."""
        wall, cpu, own = time.monotonic() - self._began, self.cpu(), time.process_time() - self._own
        shares = [share for others in self._others if (share := others.share()) is not None]
        return {"wall": wall, "cpu": cpu, "own": own / wall, "others": max(shares)}


class Load:
    """All sessions, and what they were sent."""

    def __init__(self, dialect: Dialect, per_s: float, port: int, server: int) -> None:
        self._dialect = dialect
        self._per_s = per_s
        self._address = ("127.0.0.1", port)
        self._server = server
        self._poll = select.epoll()
        self._sessions: dict[int, Session] = {}
        self._waiting = 0
        self._buffer = memoryview(bytearray(READ_BYTES))
        self._arrivals: Arrivals | None = None

    # --- the sockets ---

    def open(self, number: int, *, attach: bool, due: float | None = None) -> Session:
        """Begin a session. ``due``: when that was to be, if it was to be then."""
        steps = self._dialect.steps(number, attach=attach)
        session = Session(steps, time.monotonic() if due is None else due)
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
            data = self._read(session.sock)
            if session.ready is None:
                session.head += data
                self._go_on(session)
            elif self._arrivals is not None:
                self._arrivals.add(fd, time.monotonic_ns() // 1000, data)

    def _read(self, sock: socket.socket) -> bytes:
        size = sock.recv_into(self._buffer)
        if not size:
            raise RuntimeError("the server closed a session")
        return bytes(self._buffer[:size])

    def _go_on(self, session: Session) -> None:
        while session.steps:
            expected, said = session.steps[0]
            place = session.head.find(expected)
            if place < 0:
                return
            if said:  # what is waited for in silence may come in any order
                session.head = session.head[place + len(expected) :]
                session.sock.sendall(said)
            del session.steps[0]
        session.ready, session.head = time.monotonic(), b""
        self._waiting -= 1

    # --- what it is told to do ---

    def connect(
        self,
        count: int,
        first: int = 0,
        over_s: float = 0.0,
        attach: bool = True,
        at_most_s: float = PATIENCE_S,
    ) -> dict[str, Any]:
        """Open ``count`` sessions from number ``first`` on, as fast as they are taken or over so many
        seconds; fewer, if a busy machine does not take them within ``at_most_s``."""
        meter, began = Meter(self._server), time.monotonic()
        opened: list[Session] = []
        while len(opened) < count or self._waiting:
            now = time.monotonic()
            if now - began > PATIENCE_S:
                heard = next(session.head[-300:] for session in opened if session.ready is None)
                raise RuntimeError(f"{self._waiting} of {count} not ready after {PATIENCE_S} s: {heard!r}")
            if now - began > at_most_s:
                count = len(opened)
            allowed = min(count, int(count * (now - began) / over_s) + 1) if over_s else count
            while len(opened) < allowed and (over_s or self._waiting < AT_ONCE):
                due = began + over_s * len(opened) / count if over_s else None
                opened.append(self.open(first + len(opened), attach=attach, due=due))
            self.pump(0.002 if len(opened) < count else 0.1)
        took = sorted((session.ready or 0.0) - session.began for session in opened)
        facts = {"opened": len(opened), "p50": took[len(took) // 2], "p99": took[len(took) * 99 // 100]}
        return meter.taken() | facts

    def drop(self) -> dict[str, Any]:
        """Close every session, without a word."""
        for session in list(self._sessions.values()):
            self.close(session)
        return {}

    def settle(self, at_most_s: float = 10.0) -> dict[str, Any]:
        """Wait until the server is at rest, and read nothing meanwhile."""
        until, still = time.monotonic() + at_most_s, 0
        while still < STILL_TIMES and time.monotonic() < until:
            meter = Meter(self._server)
            time.sleep(STILL_S)
            still = still + 1 if meter.cpu() < STILL_SHARE * STILL_S else 0
        return {}

    def measure(self, warm_up_s: float, seconds: float) -> dict[str, Any]:
        """Read for so long, after a while that is not counted; what came, what it cost the server, what
        it cost here."""
        self._pump_for(warm_up_s)
        self._arrivals = Arrivals(self._dialect.message)
        meter, began_us = Meter(self._server), time.monotonic_ns() // 1000
        self._pump_for(seconds)
        taken = meter.taken()
        self._pump_for(GRACE_S)
        until_us = time.monotonic_ns() // 1000
        judged = self._arrivals.judge(self._sessions.keys(), self._per_s, began_us, seconds, until_us)
        return taken | attrs.asdict(judged)

    def _pump_for(self, seconds: float) -> None:
        until = time.monotonic() + seconds
        while (left := until - time.monotonic()) > 0:
            self.pump(left)

    def resume(self, expected: int, times: int) -> dict[str, Any]:
        """One after the other: a session that asks for a stream, until it has so many bytes of it. The
        medians of the second half: the first warms the server up."""
        for _ in range(times):
            self._resume_once(expected)
        meter = Meter(self._server)
        rounds = [self._resume_once(expected) for _ in range(times)]
        medians = {name: sorted(one[name] for one in rounds)[times // 2] for name in rounds[0]}
        return medians | {"others": meter.taken()["others"]}

    def _resume_once(self, expected: int) -> dict[str, float]:
        session = self.open(0, attach=False)
        while session.ready is None:
            self.pump(0.1)
        self._poll.unregister(session.sock.fileno())
        session.sock.setblocking(True)
        session.sock.settimeout(PATIENCE_S)
        meter = Meter(self._server)
        session.sock.sendall(self._dialect.asks())
        messages = self._read_all(session.sock, expected)
        taken = meter.taken() | {"messages": float(messages)}
        self._poll.register(session.sock.fileno(), select.EPOLLIN)
        self.close(session)
        return taken

    def _read_all(self, sock: socket.socket, expected: int) -> int:
        got = acked = messages = 0
        tail = b""
        while got < expected:
            data = self._read(sock)
            got += data.count(_FILLER)
            messages += (tail + data).count(self._dialect.message) - tail.count(self._dialect.message)
            sent = _SENT.findall(tail + data) if self._dialect.acks else []
            tail = data[-32:]
            if sent and int(sent[-1]) - acked >= ACK_BYTES:
                acked = int(sent[-1])
                sock.sendall(ack(acked))
        return messages


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
    serve(Load(dialect, scenario.per_s, target["port"], target["pid"]), sys.stdin)


if __name__ == "__main__":
    main()
