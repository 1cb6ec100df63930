"""Commands of a session: each gets its one reply, as its user, in order, whatever goes wrong."""

from __future__ import annotations

import json
from typing import Any

import pytest
from trio.testing import MockClock, memory_stream_pair

from tests.transport.fakes import output
from tests.transport.ws_peer import open_house, still_works
from trouper.store.records import Job
from trouper.transport.options import GatewayOptions


def submit(key: str, job: str = "echo") -> dict[str, Any]:
    return {"t": "submit", "id": f"id-{key}", "job": job, "arguments": {}, "key": key, "thread": "t1"}


async def test_each_command_is_answered_as_its_user(autojump_clock: MockClock) -> None:
    async with open_house() as house, house.connect(memory_stream_pair()) as peer:
        await peer.welcome()
        house.runtime.rows["theirs"] = Job(id="theirs", user="eve", name="echo")
        first = (await peer.ask(submit("k1")))["ok"]
        assert (first["created"], first["job"]["id"], first["job"]["arguments"]) == (True, "k1", {"n": 1})
        assert (await peer.ask(submit("k1")))["ok"]["created"] is False
        mine = await peer.ask({"t": "job", "id": "a", "job": "k1"})
        assert mine["ok"]["job"]["result"] is None
        theirs = await peer.ask({"t": "job", "id": "b", "job": "theirs"})
        assert theirs["error"]["code"] == "unknown"
        cancelled = await peer.ask({"t": "cancel", "id": "c", "job": "theirs"})
        assert cancelled["ok"] == {"answer": "unknown", "job": None}
        accepted = await peer.ask({"t": "cancel", "id": "d", "job": "k1"})
        assert (accepted["ok"]["answer"], accepted["ok"]["job"]["id"]) == ("accepted", "k1")
        signal = {"t": "signal", "id": "s", "job": "theirs", "message": {"stop": [None]}, "key": "m1"}
        assert (await peer.ask(signal))["ok"] == {"answer": "unknown"}
        assert (await peer.ask({**signal, "job": "k1"}))["ok"] == {"answer": "accepted"}
        assert (await peer.ask({**signal, "job": "k1", "message": None}))["ok"] == {"answer": "accepted"}
        assert house.runtime.signals == [("k1", {"stop": [None]}, "m1"), ("k1", None, "m1")]
        answer = {"t": "answer", "id": "q", "job": "k1", "key": "k", "value": [False]}
        assert (await peer.ask({**answer, "job": "theirs"}))["ok"] == {"answer": "unknown"}
        assert (await peer.ask(answer))["ok"] == {"answer": "accepted"}
        bad = (await peer.ask({**answer, "value": "bad"}))["error"]
        assert (bad["code"], bad["message"]) == ("bad_request", "the answer is bad")
        assert house.runtime.answers == [("k1", "k", [False])]
        jobs = await peer.ask({"t": "jobs", "id": "e"})
        assert [job["id"] for job in jobs["ok"]["jobs"]] == ["k1"]
        [thread] = (await peer.ask({"t": "threads", "id": "f"}))["ok"]["threads"]
        assert (thread["thread"], thread["jobs"], thread["last"]["id"]) == ("t1", 1, "k1")
        assert (await peer.ask({"t": "notifications", "id": "g"}))["ok"] == {"notifications": []}
        marked = await peer.ask({"t": "mark", "id": "h", "mark": "read", "ids": ["x", "y"]})
        assert marked["ok"] == {"counts": {"unseen": 2, "unread": 0}}


@pytest.mark.clause("E1")
@pytest.mark.parametrize(
    ("job", "code", "retryable"),
    [
        ("busy", "thread_busy", False),
        ("down", "unavailable", True),
        ("bad", "bad_request", False),
        ("bug", "internal", True),
    ],
)
async def test_what_goes_wrong_is_the_reply_of_that_command_alone(
    autojump_clock: MockClock, job: str, code: str, retryable: bool
) -> None:
    async with open_house() as house, house.connect(memory_stream_pair()) as peer:
        await peer.welcome()
        error = (await peer.ask(submit("k1", job)))["error"]
        assert (error["code"], error["retryable"]) == (code, retryable)
        assert [what for what, _ in house.crashes] == (["a command"] if job == "bug" else [])
        await still_works(peer)


async def test_commands_are_carried_out_in_the_order_in_which_they_came(autojump_clock: MockClock) -> None:
    async with open_house() as house, house.connect(memory_stream_pair()) as peer:
        await peer.welcome()
        keys = [f"k{number}" for number in range(40)]
        await peer.say(*[submit(key) for key in keys[:20]])
        await peer.say(*[submit(key) for key in keys[20:]])
        for _ in keys:
            await peer.hear_item("reply")
        assert house.runtime.order == keys


@pytest.mark.clause("N4")
async def test_a_command_that_hangs_stops_neither_acks_nor_output_nor_beats(
    autojump_clock: MockClock,
) -> None:
    async with open_house() as house, house.connect(memory_stream_pair()) as peer:
        await peer.welcome()
        await peer.say(submit("k1", "slow"))
        house.channel.give(output("hi"))
        assert (await peer.hear_item("output"))["parts"] == ["hi"]
        await peer.say({"t": "ack", "sent": 2, "feed": 0})
        await peer.hear_item("beat")
        assert ("ack", 2, 0) in house.channel.calls
        house.runtime.go.set()
        assert (await peer.hear_item("reply"))["id"] == "id-k1"


@pytest.mark.clause("E2")
async def test_a_long_list_is_cut_and_one_row_always_fits(autojump_clock: MockClock) -> None:
    async with (
        open_house(GatewayOptions(max_reply_bytes=700)) as house,
        house.connect(memory_stream_pair()) as peer,
    ):
        await peer.welcome()
        for number in range(10):
            house.runtime.rows[f"j{number}"] = Job(id=f"j{number}", user="ada", name="echo")
        jobs = (await peer.ask({"t": "jobs", "id": "a"}))["ok"]["jobs"]
        assert [job["id"] for job in jobs] == ["j9", "j8"]
        house.runtime.rows["big"] = Job(id="big", user="ada", name="echo", arguments=json.dumps("x" * 2000))
        jobs = (await peer.ask({"t": "jobs", "id": "b"}))["ok"]["jobs"]
        assert [job["id"] for job in jobs] == ["big"]


@pytest.mark.clause("E1")
async def test_what_a_row_holds_is_shown_however_deep_it_is_nested(autojump_clock: MockClock) -> None:
    deep = "[" * 900 + "]" * 900
    async with open_house() as house, house.connect(memory_stream_pair()) as peer:
        await peer.welcome()
        house.runtime.rows["j1"] = Job(
            id="j1", user="ada", name="echo", thread="t1", arguments=deep, result=deep
        )
        house.runtime.rows["j2"] = Job(id="j2", user="ada", name="echo", thread="t1", arguments="{damaged")
        j2, j1 = (await peer.ask({"t": "jobs", "id": "a"}))["ok"]["jobs"]
        assert json.dumps(j1["arguments"]) == json.dumps(j1["result"]) == deep
        assert (j2["arguments"], j2["result"]) == (None, None)
        [thread] = (await peer.ask({"t": "threads", "id": "b"}))["ok"]["threads"]
        assert json.dumps(thread["first"]["arguments"]) == deep
        assert house.crashes == []


@pytest.mark.clause("E1")
async def test_a_list_with_a_row_that_cannot_be_written_is_internal_and_the_connection_stays(
    autojump_clock: MockClock,
) -> None:
    async with open_house() as house, house.connect(memory_stream_pair()) as peer:
        await peer.welcome()
        house.runtime.rows["j1"] = Job(id="j1", user="ada", name="echo", error="\ud800")
        for item in ({"t": "jobs", "id": "a"}, {"t": "job", "id": "b", "job": "j1"}):
            error = (await peer.ask(item))["error"]
            assert (error["code"], error["retryable"]) == ("internal", False)
        assert [what for what, _ in house.crashes] == ["a command", "a command's reply"]
        del house.runtime.rows["j1"]
        await still_works(peer)


@pytest.mark.clause("J4")
async def test_a_submit_says_what_is_to_be_done_in_a_busy_thread_and_when(autojump_clock: MockClock) -> None:
    async with open_house() as house, house.connect(memory_stream_pair()) as peer:
        await peer.welcome()
        for place, word in enumerate(("enqueue", "reject", "interrupt", "rollback")):
            await peer.ask({**submit(f"w{place}"), "on_busy": word})
        await peer.ask({**submit("later"), "at": 1700000000})
        await peer.ask({**submit("soon"), "delay_s": 2.5})
        assert house.runtime.asked == [
            *((word, None, 0.0) for word in ("enqueue", "reject", "interrupt", "rollback")),
            ("enqueue", 1700000000, 0.0),
            ("enqueue", None, 2.5),
        ]
        for wrong in ({"on_busy": "wait"}, {"at": -1}, {"delay_s": -0.5}):
            refused = await peer.ask({**submit("no"), **wrong})
            assert refused["error"]["code"] == "bad_request"
        assert len(house.runtime.asked) == 6


@pytest.mark.clause("J2")
async def test_a_job_is_cancelled_by_its_key_over_the_wire(autojump_clock: MockClock) -> None:
    async with open_house() as house, house.connect(memory_stream_pair()) as peer:
        await peer.welcome()
        early = await peer.ask({"t": "cancel", "id": "a", "key": "k1"})
        assert early["ok"] == {"answer": "accepted", "job": None}
        assert [key for _, key in house.runtime.cancelled_keys] == ["k1"]
        for wrong in ({}, {"job": "j", "key": "k"}, {"key": ""}):
            refused = await peer.ask({"t": "cancel", "id": "b", **wrong})
            assert refused["error"]["code"] == "bad_request"
