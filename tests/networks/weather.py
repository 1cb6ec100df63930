"""What happens to networks, processes and tasks while devices work: drawn, so a seed has it again."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import trio

from tests.networks.devices import Device
from tests.networks.service import Service
from trouper.simulation import Line


class Weather:
    """``happened`` counts what did, by name."""

    def __init__(self, service: Service, devices: Sequence[Device]) -> None:
        self.happened: Counter[str] = Counter()
        self._service = service
        self._devices = devices
        self._dice = service.world.random
        self._events = [
            *[self._cut] * 4,
            *[self._swallow] * 2,
            *[self._line] * 4,
            *[self._kill] * 2,
            *[self._interrupt] * 4,
            *[self._visible] * 2,
            *[self._coalesce] * 2,
        ]

    async def blow(self, seconds: float) -> None:
        """Something at random moments; in the end the network is well."""
        until = trio.current_time() + seconds
        while trio.current_time() < until:
            await trio.sleep(self._dice.expovariate(4))
            event = self._dice.choice(self._events)
            if event():
                self.happened[event.__name__.strip("_")] += 1
        self._service.network.line = Line()
        self._service.network.cut_all()

    def _cut(self) -> bool:
        connections = self._service.network.connections
        if connections:
            self._dice.choice(connections).cut()
        return bool(connections)

    def _swallow(self) -> bool:
        connections = self._service.network.connections
        if connections:
            self._dice.choice(connections).swallow()
        return bool(connections)

    def _line(self) -> bool:
        choice, limit = self._dice.choice, self._dice.randrange(200, 4000)
        self._service.network.line = Line(
            delay_s=choice([0.0, 0.01, 0.2]),
            slice_bytes=choice([1, 7, 100, 65_536]),
            bytes_per_s=choice([3_000, 50_000, float("inf")]),
            in_flight_bytes=choice([200, 4_000, 65_536]),
            cut_after_bytes=choice([float("inf"), float("inf"), limit]),
            hole_after_bytes=choice([float("inf"), float("inf"), limit]),
        )
        return True

    def _kill(self) -> bool:
        lives = self._service.lives
        if lives > 4:
            return False
        self._service.kill()
        return True

    def _interrupt(self) -> bool:
        device = self._dice.choice(self._devices)
        before = device.interruptions.made
        device.interruptions.cancel(self._dice.random())
        return device.interruptions.made > before

    def _visible(self) -> bool:
        client = self._dice.choice(self._devices).client
        if client is not None:
            client.set_visible(self._dice.random() < 0.5)
        return client is not None

    def _coalesce(self) -> bool:
        client = self._dice.choice(self._devices).client
        if client is not None:
            client.set_coalesce(self._dice.choice([None, 0, 100, 500]))
        return client is not None
