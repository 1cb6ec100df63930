"""What the plain peers of the delivery benchmark do alike: every token, one window, logs in messages."""

from __future__ import annotations

import importlib
import json
import sys
from types import ModuleType, SimpleNamespace

import attrs
import pytest

from benchmarks.delivery.scenario import FILLER, Scenario, token


@attrs.define
class Clock:
    now: float = 100.0

    def monotonic(self) -> float:
        return self.now


def plain_peer(monkeypatch: pytest.MonkeyPatch, clock: Clock, scenario: Scenario) -> ModuleType:
    """The module as a peer's process has it: its scenario is the first argument."""
    monkeypatch.setattr(sys, "argv", ["peer", scenario.as_json()])
    plain = importlib.reload(importlib.import_module("benchmarks.delivery.plain"))
    monkeypatch.setattr(plain, "time", SimpleNamespace(monotonic=clock.monotonic))
    return plain


def test_a_late_source_makes_every_token_with_the_time_it_was_due(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock()
    plain = plain_peer(monkeypatch, clock, Scenario(per_s=50.0))
    (stream,) = plain.make_streams()
    source = plain.make([stream])
    pauses = [next(source)]
    clock.now += 0.05  # it slept for 30 ms too long
    pauses += [next(source) for _ in range(3)]
    assert stream.log == [token(100 + 0.02 * number) for number in range(4)]
    assert [round(pause, 6) for pause in pauses] == [0.02, 0, 0.01, 0.03]


def test_windows_end_for_all_sessions_at_the_same_time(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock()
    plain = plain_peer(monkeypatch, clock, Scenario(window_s=0.25))
    for now, left in (100.0, 0.25), (100.0625, 0.1875), (100.1875, 0.0625):
        clock.now = now
        assert plain.to_window_end() == left


def test_a_log_is_sent_whole_in_messages_of_64_kib(monkeypatch: pytest.MonkeyPatch) -> None:
    plain = plain_peer(monkeypatch, Clock(), Scenario(prefill_bytes=1_000_000))
    (stream,) = plain.make_streams()
    place = plain.Place(stream)
    messages = [json.loads(text) for text in place.log()]
    assert "".join(message["text"] for message in messages) == FILLER * 245
    assert max(len(message["text"]) for message in messages) == 64 * 1024
    assert [message["from"] for message in messages] == [0, *(message["to"] for message in messages[:-1])]
    assert place.sent == messages[-1]["to"] == 245


def test_a_burst_goes_to_the_first_stream_only(monkeypatch: pytest.MonkeyPatch) -> None:
    plain = plain_peer(monkeypatch, Clock(), Scenario(streams=2, burst_bytes=100_000))
    streams = plain.make_streams()
    for group in plain.groups(streams):
        assert all(pause == 0 for pause in plain.make(group))
    assert [len(stream.log) for stream in streams] == [25, 0]
