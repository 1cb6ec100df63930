"""When a node holds its lease, and when it lets go."""

from __future__ import annotations

from typing import Any, cast

import attrs
import pytest
import trio
from trio.testing import MockClock

from trouper.store.errors import StoreUnavailable
from trouper.store.leases import Lease, Renewed
from trouper.store.protocol import Store
from trouper.store.seams import Seams
from trouper.supervisor.child_spec import ChildContext
from trouper.supervisor.lease import LeaseKeeper


@attrs.define
class Renewals:
    """The one method that the keeper calls; ``takes_s`` and ``answers`` say how it goes."""

    lease: Lease | None = attrs.field(factory=Lease)
    takes_s: float = 0.0
    down: bool = False
    boot: int = 1
    dies: bool = False
    asked: list[tuple[float, bool]] = attrs.field(factory=list)

    async def renew(self, *, anew: bool = False) -> Renewed:
        self.asked.append((trio.current_time(), anew))
        await trio.sleep(self.takes_s)
        if self.down:
            raise StoreUnavailable("down")
        anew = anew or self.dies
        self.dies = False
        self.boot += anew
        return Renewed(self.boot, anew=anew)


@attrs.define
class Kept:
    store: Renewals
    lost: list[float] = attrs.field(factory=list)
    keeper: LeaseKeeper = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self.keeper = LeaseKeeper(
            cast(Store, self.store), Seams(), lambda why: self.lost.append(trio.current_time())
        )

    def start(self, nursery: trio.Nursery) -> None:
        self.keeper.begin()
        nursery.start_soon(self.keeper.run, ChildContext("lease", "runtime/core/lease"))


@pytest.fixture
def kept(nursery: trio.Nursery) -> Any:
    def start(**store: Any) -> Kept:
        made = Kept(Renewals(**store))
        made.start(nursery)
        return made

    return start


async def test_a_lease_is_renewed_thrice_in_the_time_that_it_may(
    kept: Any, autojump_clock: MockClock
) -> None:
    node = kept()
    await trio.sleep(100)
    times = [at for at, _ in node.store.asked]
    assert times == pytest.approx([20 / 3 * n for n in range(1, 15)])
    assert node.keeper.held
    assert node.lost == []


async def test_a_node_that_cannot_renew_lets_go_its_margin_before_the_end(
    kept: Any, autojump_clock: MockClock
) -> None:
    node = kept(down=True)
    await trio.sleep(19.9)
    assert node.keeper.held
    await trio.sleep(0.2)
    assert not node.keeper.held
    assert node.lost == [20.0]


async def test_a_renewal_counts_from_when_it_was_asked_for(kept: Any, autojump_clock: MockClock) -> None:
    node = kept(takes_s=5.0)
    await trio.sleep(12)  # asked at 6.7, answered at 11.7
    node.store.down = True
    await trio.sleep_until(trio.current_time() + 50)
    assert node.lost == pytest.approx([20 / 3 + 20])


async def test_an_answer_that_comes_after_it_let_go_prolongs_nothing(
    kept: Any, autojump_clock: MockClock
) -> None:
    node = kept(takes_s=25.0)
    await trio.sleep(33)  # asked at 6.7, let go at 20, answered at 31.7
    assert node.lost == [20.0]
    assert not node.keeper.held
    assert node.store.asked[-1][1], "it asks for a new boot: what ran under the old one is others' to claim"


async def test_after_a_loss_it_holds_the_lease_of_a_new_boot(kept: Any, autojump_clock: MockClock) -> None:
    node = kept(down=True)
    await trio.sleep(40)
    node.store.down = False
    await trio.sleep(1)
    assert (node.keeper.held, node.store.boot) == (True, 2)
    await trio.sleep(100)
    assert (node.lost, node.store.boot) == ([20.0], 2)


async def test_a_boot_that_the_store_held_for_dead_is_lost_when_that_is_told(
    kept: Any, autojump_clock: MockClock
) -> None:
    node = kept(dies=True)
    await trio.sleep(7)
    assert node.lost == pytest.approx([20 / 3])
    assert node.keeper.held, "and the new one is held"


async def test_a_child_that_is_started_again_goes_on_with_the_lease_as_it_stands(
    kept: Any, nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    node = kept(down=True)
    await trio.sleep(10)
    async with trio.open_nursery() as another:
        another.start_soon(node.keeper.run, ChildContext("lease", "runtime/core/lease"))
        await trio.sleep(15)
        another.cancel_scope.cancel()
    assert node.lost == [20.0]


async def test_without_a_lease_nothing_is_renewed_and_it_always_holds(
    kept: Any, autojump_clock: MockClock
) -> None:
    node = kept(lease=None, down=True)
    await trio.sleep(1000)
    assert node.keeper.held
    assert (node.store.asked, node.lost, node.keeper.statistics()) == ([], [], {})
