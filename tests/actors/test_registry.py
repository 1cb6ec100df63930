"""Registries: unique keys, groups, and who leaves by ending."""

from __future__ import annotations

from typing import Any

import pytest
import trio

from tests.actors.helpers import Recorder, new_ref, running, settle
from trouper.actors.errors import ActorStopped, KeyTaken, LimitReached
from trouper.actors.ref import ActorRef
from trouper.actors.registry import Registry
from trouper.supervisor.actor_child import actor_child
from trouper.supervisor.keyed import KeyedSupervisor
from trouper.supervisor.supervisor import Supervisor


async def test_a_unique_key_has_one_actor_which_leaves_by_ending() -> None:
    registry: Registry[str, Any] = Registry()
    ada, bob = new_ref("ada"), new_ref("bob")
    async with running(ada, bob):
        registry.register("admin", ada)
        registry.register("admin", ada)
        with pytest.raises(KeyTaken, match="'admin' is taken by 'ada'"):
            registry.register("admin", bob)
        assert registry.whereis("admin") is ada
        ada.stop()
        await settle()
        assert registry.whereis("admin") is None
        assert "admin" not in registry
        registry.register("admin", bob)
    assert len(registry) == 0
    with pytest.raises(ActorStopped, match="only an actor that lives"):
        registry.register("admin", bob)


async def test_a_group_is_told_all_at_once_in_the_order_of_its_members() -> None:
    registry: Registry[str, Any] = Registry(duplicate=True)
    refs = [new_ref(name) for name in "abc"]
    async with running(*refs) as actors:
        for ref in refs:
            registry.register("lobby", ref)
        registry.register("other", refs[0])
        assert registry.dispatch("lobby", "hello") == 3
        assert registry.lookup("lobby") == tuple(refs)
        refs[1].stop()
        await settle()
        assert registry.dispatch("lobby", "again") == 2
        assert registry.unregister("lobby", refs[0])
        assert not registry.unregister("lobby", refs[0])
        assert registry.lookup("lobby") == (refs[2],)
        assert registry.keys() == ("lobby", "other")
        assert registry.dispatch("nobody", "hello") == 0
        await settle()
        assert actors[0].got[:2] == ["hello", "again"]


async def test_a_restart_is_no_end_and_leaves_the_actor_registered() -> None:
    def crash(_actor: Any) -> None:
        raise ValueError("boom")

    registry: Registry[str, Any] = Registry()
    spec, ref = actor_child("a", Recorder)
    top = Supervisor("top", [spec], reporter=lambda report: None)

    async with trio.open_nursery() as nursery:
        await nursery.start(top.run)
        registry.register("a", ref)
        ref.tell(crash)
        await settle()
        assert registry.whereis("a") is ref
        await top.terminate_child("a")
        assert registry.whereis("a") is None
        top.stop()


async def test_nothing_is_left_of_who_registers_and_unregisters() -> None:
    registry: Registry[int, Any] = Registry(duplicate=True, max_entries=3)
    ref = new_ref("a")
    async with running(ref):
        for number in range(1000):
            registry.register(number, ref)
            registry.unregister(number, ref)
        assert ref._mailbox().watchers == 0
        for number in range(3):
            registry.register(number, ref)
        with pytest.raises(LimitReached, match="3 entries"):
            registry.register(4, ref)
        assert ref._mailbox().watchers == 3
    with pytest.raises(ValueError, match="at least 1 entry"):
        Registry(max_entries=0)


async def test_the_actor_of_a_key_can_be_registered_while_it_runs() -> None:
    registry: Registry[str, Any] = Registry()
    keyed: KeyedSupervisor[Any] = KeyedSupervisor("desks", lambda _: Recorder(), idle_s=1000)
    ref: ActorRef[Any] = keyed.ref("ada")

    async with trio.open_nursery() as nursery:
        await nursery.start(keyed.run)
        with pytest.raises(ActorStopped):
            registry.register("ada", ref)
        ref.tell("hello")
        registry.register("ada", ref)
        assert registry.whereis("ada") is ref
        keyed.stop()
    assert len(registry) == 0
