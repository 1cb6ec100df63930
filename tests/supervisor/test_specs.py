"""What is declared wrong is refused where it is declared, with the legal forms."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest

from tests.supervisor.helpers import Stage
from trouper.actors.actor import Actor
from trouper.supervisor.actor_child import actor_child
from trouper.supervisor.backoff import Backoff
from trouper.supervisor.child_spec import ChildContext, ChildSpec
from trouper.supervisor.dynamic import DynamicSupervisor
from trouper.supervisor.errors import BadSpec, StartFailed
from trouper.supervisor.intensity import Intensity
from trouper.supervisor.keyed import KeyedSupervisor
from trouper.supervisor.supervisor import Supervisor


async def do_nothing(_context: ChildContext) -> None:
    pass


class Idle(Actor[str]):
    async def receive(self, message: str) -> None:
        pass


def spec(**fields: Any) -> ChildSpec:
    return ChildSpec(**{"name": "a", "start": do_nothing, **fields})


def actor(**options: Any) -> object:
    return actor_child(**{"name": "a", "factory": Idle, **options})


def supervisor(**options: Any) -> Supervisor:
    return Supervisor(**{"name": "top", "children": [spec()], **options})


def keyed(**options: Any) -> KeyedSupervisor[str]:
    return KeyedSupervisor(**{"name": "desks", "factory": lambda key: Idle(), **options})


@pytest.mark.parametrize(
    ("declare", "legal"),
    [
        (lambda: spec(name=7), r"a child's name=7: legal are str"),
        (lambda: spec(name=""), "the name of a child is not empty"),
        (lambda: spec(start="later"), "start='later': legal is an async def of a ChildContext"),
        (lambda: actor(factory=Idle()), "child 'a': factory=.*: legal is what makes an Actor"),
        (lambda: actor(mailbox=9), r"child 'a': mailbox=9: legal are Mailbox\(…\) and None"),
        (lambda: spec(restart="always"), "legal are Restart.PERMANENT, Restart.TRANSIENT, Restart.TEMPORARY"),
        (lambda: spec(shutdown_s="5"), "shutdown_s='5': legal is 0 or more seconds, or math.inf"),
        (lambda: spec(shutdown_s=True), "shutdown_s=True: legal is 0 or more seconds"),
        (lambda: spec(shutdown_s=math.nan), "shutdown_s=nan: legal is 0 or more seconds"),
        (lambda: spec(start_timeout_s=0), "start_timeout_s=0: legal is above 0 seconds"),
        (lambda: spec(intensity=(3, 5)), r"intensity=\(3, 5\): legal are Intensity\(…\) and None"),
        (lambda: spec(backoff=1.5), r"backoff=1.5: legal are Backoff\(…\) and None"),
        (lambda: spec(significant=1), "significant=1: legal are True, False"),
        (lambda: spec(significant=True), "a significant child is transient or temporary"),
        (lambda: Intensity(-1), "0 or more restarts in a finite period above 0 s"),
        (lambda: Intensity("3"), "0 or more restarts in a finite period above 0 s"),  # type: ignore[arg-type]
        (lambda: Intensity(1.5), "0 or more restarts in a finite period above 0 s"),  # type: ignore[arg-type]
        (lambda: Backoff(base_s="1"), "0 <= base_s <= max_s, finite"),  # type: ignore[arg-type]
        (lambda: Backoff(factor=math.inf), "factor >= 1, finite"),
        (lambda: Backoff(reset_after_s=0), "reset_after_s > 0"),
        (lambda: supervisor(name=None), "a supervisor's name=None: legal are str"),
        (lambda: supervisor(name="a/b"), "a supervisor's name is not empty and has no '/'"),
        (lambda: supervisor(children=[do_nothing]), r"a child=.*legal are ChildSpec\(…\)"),
        (lambda: supervisor(children=[spec(), spec()]), "need different names, not .*'a', 'a'"),
        (lambda: supervisor(strategy="one_for_one"), "legal are Strategy.ONE_FOR_ONE, Strategy.REST_FOR_ONE"),
        (lambda: supervisor(auto_shutdown=True), "legal are AutoShutdown.NEVER, AutoShutdown.ANY_SIGNIF"),
        (lambda: supervisor(intensity=3), r"intensity=3: legal are Intensity\(…\) and None"),
        (lambda: supervisor(max_children=0), "max_children=0: legal is 1 or more"),
        (lambda: supervisor(max_children="9"), "max_children='9': legal is 1 or more"),
        (lambda: DynamicSupervisor("jobs", max_children=None), "legal is 1 child or more"),  # type: ignore[arg-type]
        (lambda: supervisor(shutdown_total_s=math.inf), "shutdown_total_s=inf: legal is 0 or more seconds"),
        (lambda: supervisor(stuck_after_s=0), "stuck_after_s=0: legal is above 0 seconds, finite"),
        (lambda: supervisor(reporter="log"), "reporter is a function of a Report, not 'log'"),
        (lambda: supervisor(seams=7), r"seams=7: legal are Seams\(…\) and None"),
        (lambda: DynamicSupervisor("jobs", max_children=0), "legal is 1 child or more"),
        (lambda: DynamicSupervisor("jobs", intensity=3), r"legal are Intensity\(…\) and None"),  # type: ignore[arg-type]
        (lambda: keyed(factory=None), "legal is a function from a key to an Actor"),
        (lambda: keyed(idle_s=0), r"idle_s \(or None\)=0: legal is above 0 seconds"),
        (lambda: keyed(quarantine_s=-1), "quarantine_s=-1: legal is above 0 seconds, finite"),
        (lambda: keyed().ref(""), "a key is not empty"),
        (lambda: actor_child("", Idle), "the name of a child is not empty"),
    ],
)
def test_what_is_wrong_is_named_with_what_is_legal(declare: Callable[[], object], legal: str) -> None:
    with pytest.raises(BadSpec, match=legal):
        declare()


def test_what_is_refused_can_be_caught_as_a_value_error_too() -> None:
    with pytest.raises(ValueError, match="legal"):
        spec(restart=None)


async def test_a_factory_that_makes_no_actor_is_told_with_what_it_made() -> None:
    stage = Stage()
    declared: Any = actor(factory=lambda: None)
    with pytest.raises(StartFailed, match="the factory of actor 'a' made None: legal is an Actor"):
        await Supervisor("top", [declared[0]], reporter=stage.report).run()
