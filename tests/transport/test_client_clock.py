"""A client says what time it is by the server's clock, whatever its own shows."""

from __future__ import annotations

import pytest

from tests.transport import client_wire as wire
from trouper.transport.client_clock import ServerClock
from trouper.transport.client_core import ClientCore
from trouper.transport.client_errors import ServerFault
from trouper.transport.client_events import Broken
from trouper.transport.client_options import ClientOptions


class Clocks:
    """A machine whose wall clock is an hour behind; what has passed is told rightly."""

    def __init__(self) -> None:
        self.passed = 5.0
        self.clock = ServerClock(lambda: self.passed, lambda: 1000.0 - 3600.0 + self.passed)
        self.core = ClientCore(options=ClientOptions(), uniform=lambda low, high: high, clock=self.clock)
        self.core.opened()


def test_the_time_is_that_of_the_welcome_and_what_has_passed_since() -> None:
    clocks = Clocks()
    assert clocks.clock.now() == 1005.0 - 3600.0, "its own, as long as nothing is told"
    clocks.core.received([wire.welcome() | {"now": 1005.5}])
    assert clocks.clock.now() == 1005.5
    clocks.passed += 10
    assert clocks.clock.now() == 1015.5


def test_each_beat_tells_it_anew_so_that_a_clock_that_is_set_heals() -> None:
    clocks = Clocks()
    clocks.core.received([wire.welcome() | {"now": 1005.0}])
    clocks.passed += 25
    clocks.core.received([{"t": "beat", "now": 1090.0}])
    assert clocks.clock.now() == 1090.0


def test_a_server_that_tells_no_time_is_believed_to_have_this_clock_and_a_wrong_one_is_a_fault() -> None:
    clocks = Clocks()
    clocks.core.received([wire.welcome(), {"t": "beat"}])
    assert clocks.clock.now() == 1005.0 - 3600.0
    [event] = clocks.core.received([{"t": "beat", "now": "noon"}])
    assert isinstance(event, Broken)
    assert "the field 'now' must be a number, not 'noon'" in event.reason
    with pytest.raises(ServerFault):
        clocks.clock.told({"t": "beat", "now": True})
