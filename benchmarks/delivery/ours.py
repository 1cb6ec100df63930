"""trouper: every stream is a submitted job that writes through its ``ctx``."""

from __future__ import annotations

import sys
import time
from functools import partial

import trio

import trouper
from benchmarks.delivery.scenario import FILLER, Scenario, ready, token
from trouper.transport.gateway import Gateway

SCENARIO = Scenario.from_arguments()
LONG_S = 3600.0
"""Beats and silences are no part of what is measured, at no peer."""

_started = trio.Event()
_contexts: list[trouper.JobContext] = []
_prefilled = trio.Event()
_running: list[str] = []


@trouper.job(timeout=LONG_S)
async def stream(ctx: trouper.JobContext, *, number: int) -> None:
    """One stream, in the way that the scenario says."""
    for _ in range(0, SCENARIO.prefill_bytes, len(FILLER)):
        await ctx.write(FILLER)
    _running.append(ctx.job_id)
    if len(_running) == SCENARIO.streams:
        _prefilled.set()
    if SCENARIO.prefill_ended:
        return
    if SCENARIO.source == "one":
        _contexts.append(ctx)
    await _started.wait()
    if SCENARIO.burst_bytes:
        for _ in range(0, SCENARIO.burst_bytes if number == 0 else 0, len(FILLER)):
            await ctx.write(FILLER)
    elif SCENARIO.source == "each":
        due, pause = time.monotonic(), 1 / SCENARIO.per_s
        while True:
            await ctx.write(token(due))
            due += pause
            await trio.sleep(max(0.0, due - time.monotonic()))
    await trio.sleep_forever()


async def one_source() -> None:
    """The tokens of all streams."""
    await _started.wait()
    due, pause = time.monotonic(), 1 / SCENARIO.per_s
    while True:
        for ctx in _contexts:
            await ctx.write(token(due))
        due += pause
        await trio.sleep(max(0.0, due - time.monotonic()))


def options() -> tuple[trouper.RuntimeOptions, trouper.GatewayOptions]:
    runtime = trouper.RuntimeOptions(max_running=SCENARIO.streams + 1)
    gateway = trouper.GatewayOptions(
        max_connections=20_000,
        tick_s=SCENARIO.window_s,
        max_tick_s=SCENARIO.longest_window_s,
        beat_s=LONG_S,
        silence_s=LONG_S,
        direct_writes="--woken" not in sys.argv,
    )
    return runtime, gateway


async def main() -> None:
    runtime_options, gateway_options = options()
    async with (
        trouper.open_runtime(SCENARIO.store, jobs=[stream], options=runtime_options) as runtime,
        trio.open_nursery() as nursery,
    ):
        numbers = range(SCENARIO.streams)
        ids = [(await runtime.submit(stream.call(number=n), user=f"u{n}")).id for n in numbers]
        await _prefilled.wait()
        if SCENARIO.prefill_ended:
            for id in ids:
                await runtime.wait(id)
        if SCENARIO.source == "one":
            nursery.start_soon(one_source)

        serve = partial(
            trouper.serve,
            runtime,
            port=0,
            authenticate=lambda hello: hello.token,
            options=gateway_options,
        )
        gateway: Gateway = await nursery.start(serve)
        ready(gateway.port, ids)
        await trio.to_thread.run_sync(sys.stdin.readline)
        _started.set()
        await trio.to_thread.run_sync(sys.stdin.readline)
        nursery.cancel_scope.cancel()


if __name__ == "__main__":
    trio.run(main)
