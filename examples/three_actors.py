"""Three actors under a supervisor, and nothing else of trouper: no job, no store, no web.

``python -m examples.three_actors`` adds up lines, one of which is no number: the parser crashes on it, is
started again and goes on with the next; the ledger keeps its sum, and ends the tree when it has all.
"""

import attrs
import trio

from trouper.actors.actor import Actor
from trouper.actors.function_actor import FunctionContext, function_actor
from trouper.actors.ref import ActorRef
from trouper.supervisor.actor_child import actor_child
from trouper.supervisor.strategy import AutoShutdown, Restart
from trouper.supervisor.supervisor import Supervisor


@attrs.define
class Parser(Actor[str]):
    ledger: ActorRef[int | None]

    async def receive(self, message: str) -> None:
        await self.ledger.send(int(message) if message else None)  # an empty line is the end


@attrs.define
class Ledger(Actor[int | None]):
    sums: list[int]
    total: int = 0

    async def receive(self, message: int | None) -> None:
        if message is None:
            self.sums.append(self.total)
            self.context.stop()
        else:
            self.total += message


async def add_up(lines: list[str]) -> int:
    sums: list[int] = []

    async def trim(context: FunctionContext[str]) -> None:
        async for line in context:
            await parser.send(line.strip())

    ledger_spec, ledger = actor_child(
        "ledger", lambda: Ledger(sums), restart=Restart.TRANSIENT, significant=True
    )
    parser_spec, parser = actor_child("parser", lambda: Parser(ledger))
    trimmer_spec, trimmer = actor_child("trimmer", function_actor(trim))
    top = Supervisor(
        "top", [ledger_spec, parser_spec, trimmer_spec], auto_shutdown=AutoShutdown.ANY_SIGNIFICANT
    )
    async with trio.open_nursery() as nursery:
        await nursery.start(top.run)
        print(top.tree().text())
        for line in [*lines, ""]:
            await trimmer.send(line)
    return sums[0]


if __name__ == "__main__":
    print(trio.run(add_up, ["1", " 2 ", "three", "4"]))
