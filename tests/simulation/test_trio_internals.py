"""A contract with the installed trio: the private names are there and do what the simulation needs."""

from __future__ import annotations

import pytest
import trio
from trio.lowlevel import Task
from trio.testing import wait_all_tasks_blocked

from trouper.simulation import BadTrio, simulate, trio_internals


class Thrown(Exception):
    pass


def test_the_installed_trio_has_every_private_name() -> None:
    assert trio_internals.missing_names() == []


def test_a_name_that_changed_is_named_before_anything_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    names = {
        **trio_internals.NAMES,
        "trio._core._run.Task": ("_abort_func", "_gone"),
        "trio._core._run.No": ("a",),
    }
    monkeypatch.setattr(trio_internals, "NAMES", names)

    async def scenario(_world: object) -> None:
        raise AssertionError("it must not run")

    with pytest.raises(BadTrio, match=r"has no trio\._core\._run\.Task\._gone, trio\._core\._run\.No\.a: "):
        simulate(scenario, seed=1)


def test_the_order_of_each_batch_is_the_one_that_was_chosen() -> None:
    ran: list[str] = []

    async def note(name: str) -> None:
        for _ in range(2):
            await trio.lowlevel.checkpoint()
            ran.append(name)

    async def main() -> None:
        async with trio.open_nursery() as nursery:
            for name in "bca":
                nursery.start_soon(note, name, name=name)

    with trio_internals.ordered_by(lambda batch: sorted(batch, key=lambda task: task.name)):
        trio.run(main)
    assert ran == ["a", "b", "c"] * 2


def test_a_task_that_was_put_back_runs_with_the_next_batch() -> None:
    ran: list[str] = []

    def late(batch: list[Task]) -> list[Task]:
        now = [task for task in batch if task.name != "late"]
        if len(ran) < 3:
            trio_internals.put_back(task for task in batch if task.name == "late")
            return now
        return batch

    async def note(name: str) -> None:
        for _ in range(3):
            ran.append(name)
            await trio.lowlevel.checkpoint()

    async def main() -> None:
        async with trio.open_nursery() as nursery:
            for name in ("late", "early"):
                nursery.start_soon(note, name, name=name)

    with trio_internals.ordered_by(late):
        trio.run(main)
    assert ran == ["early"] * 3 + ["late"] * 3


def test_trio_is_as_it_was_after_an_order_and_one_at_a_time_is_allowed() -> None:
    from trio._core import _run

    before = (_run._r, _run._ALLOW_DETERMINISTIC_SCHEDULING)
    with trio_internals.ordered_by(lambda batch: batch):
        assert _run._ALLOW_DETERMINISTIC_SCHEDULING
        with (
            pytest.raises(RuntimeError, match="one at a time"),
            trio_internals.ordered_by(lambda batch: batch),
        ):
            pass
    assert (_run._r, _run._ALLOW_DETERMINISTIC_SCHEDULING) == before


async def test_a_wait_is_ended_by_any_exception() -> None:
    caught: list[BaseException] = []
    raised: list[bool] = []

    async def wait() -> None:
        try:
            await trio.sleep_forever()
        except Thrown as error:
            caught.append(error)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(wait)
        await wait_all_tasks_blocked()
        (task,) = nursery.child_tasks
        assert trio_internals.waits(task)
        trio_internals.throw(task, error := Thrown(), lambda: raised.append(True))
        assert not trio_internals.waits(task)
    assert caught == [error]
    assert raised == [True]


async def test_a_wait_that_refuses_to_be_ended_is_told_apart() -> None:
    raised: list[bool] = []
    task: Task | None = None

    async def refuse() -> None:
        nonlocal task
        task = trio.lowlevel.current_task()
        await trio.lowlevel.wait_task_rescheduled(lambda _: trio.lowlevel.Abort.FAILED)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(refuse)
        await wait_all_tasks_blocked()
        assert task is not None
        trio_internals.throw(task, Thrown(), lambda: raised.append(True))
        assert raised == []
        trio.lowlevel.reschedule(task)


async def test_a_task_that_can_run_finds_an_exception_where_it_waited() -> None:
    async def spin() -> None:
        while True:
            await trio.lowlevel.cancel_shielded_checkpoint()

    with pytest.RaisesGroup(Thrown):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(spin)
            await trio.lowlevel.checkpoint()
            await trio.lowlevel.checkpoint()
            (task,) = nursery.child_tasks
            trio_internals.poison(task, Thrown())


async def test_the_outermost_scope_of_a_task_is_the_first_that_it_opened() -> None:
    scopes: list[trio.CancelScope] = []

    async def nested() -> None:
        with trio.CancelScope() as outer, trio.CancelScope():
            scopes.append(outer)
            await trio.sleep_forever()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(nested)
        nursery.start_soon(trio.sleep_forever)
        await wait_all_tasks_blocked()
        found = {trio_internals.outermost_scope(task) for task in nursery.child_tasks}
        assert found == {None, scopes[0]}
        nursery.cancel_scope.cancel()
