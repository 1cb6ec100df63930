"""What networks do to a connection, on real sockets: the client ends with all of it, once, and verified."""

from __future__ import annotations

import signal
import ssl
import sys
from pathlib import Path

import pytest
import trio
import trustme

import trouper
from tests.transport.bad_wire import Faults, open_wire
from tests.transport.service import Gates, open_service
from tests.transport.test_http import until
from trouper.transport.codes import CloseCode
from trouper.transport.options import ENTRY_BYTES, GatewayOptions
from trouper.transport.outbox import close_frame

GATES = Gates()
ROOT = Path(__file__).resolve().parents[2]


@trouper.job(client=True)
async def lines(ctx: trouper.JobContext, *, count: int, gate: str = "") -> None:
    """So many lines of a hundred bytes and a little; waits for its gate, if it has one, before the last."""
    for number in range(count):
        if gate and number == count - 1:
            await GATES[gate].wait()
        await ctx.write(f"{number:06} “naïve” 🎪 ".ljust(100, ".") + "\n")


def written(count: int) -> str:
    return "".join(f"{number:06} “naïve” 🎪 ".ljust(100, ".") + "\n" for number in range(count))


async def read(client: trouper.Client, job_id: str) -> trouper.Transcript:
    transcript = trouper.Transcript()
    async for item in client.output(job_id):
        transcript.add(item)
    return transcript


def check(transcript: trouper.Transcript, count: int) -> None:
    assert transcript.text == written(count)
    assert transcript.end is not None
    assert transcript.end.verified


@pytest.mark.clause("O2", "O6")
@pytest.mark.parametrize("step", [311, 1009, 4999])
async def test_a_connection_that_is_cut_inside_any_frame_is_resumed_without_a_gap(step: int) -> None:
    """Each connection carries some bytes more than the one before, from inside the handshake on."""
    async with open_service(lines) as service, open_wire(service.port) as wire:
        job = await service.runtime.submit(lines.call(count=200), user="ada")
        await service.runtime.wait(job.id)
        wire.faults = Faults(cut_after=step, cut_later=step)
        async with service.client(dial=wire.dial) as client:
            check(await read(client, job.id), 200)
        assert wire.opened >= 3
        assert service.troubles == []


@pytest.mark.clause("O2", "O6", "N4")
async def test_a_black_hole_is_judged_dead_by_both_ends_and_the_client_comes_back_on_a_way_that_works() -> (
    None
):
    """No word of either's reaches the other, so each has to judge for itself, by what it hears."""
    options = GatewayOptions(beat_s=0.2, silence_s=0.5)
    async with open_service(lines, options=options) as service, open_wire(service.port) as wire:
        job = await service.runtime.submit(lines.call(count=500, gate="hole"), user="ada")
        wire.faults = Faults(hole_after=20_000)
        async with service.client(dial=wire.dial, back_in_s=0.1) as client, trio.open_nursery() as nursery:

            async def heal() -> None:
                await wire.swallowed.wait()
                wire.faults.hole_after = float("inf")
                left = await next_connection(client, "waiting")
                assert (left.code, left.reason) == (None, "silence")
                GATES["hole"].set()

            nursery.start_soon(heal)
            check(await read(client, job.id), 500)
            await until(lambda: service.gateway.statistics().sessions == 1)
        assert wire.opened == 2
        assert bytes(wire.lost).endswith(close_frame(CloseCode.SILENCE, "nothing was heard for 0.5 s"))
        assert service.troubles == []


async def next_connection(client: trouper.Client, state: str) -> trouper.Connection:
    while (connection := await client.wait_connection_changed()).state != state:
        pass
    return connection


@pytest.mark.clause("O4", "O5")
@pytest.mark.slow
async def test_a_line_of_10_kb_a_second_is_never_given_a_message_that_takes_it_for_ever() -> None:
    """A message of 256 KiB would take it half a minute, and a client that sees messages only would drop
    the connection as silent, come back, and be sent it again. It asks on one connection, and gets all."""
    async with open_service(lines) as service, open_wire(service.port) as wire:
        job = await service.runtime.submit(lines.call(count=600), user="ada")
        await service.runtime.wait(job.id)
        wire.faults = Faults(bytes_per_s=10_000)
        async with service.client(dial=wire.dial) as client:
            await client.wait_connected()
            before = client.frames.messages_received
            check(await read(client, job.id), 600)
            assert client.frames.connections == 1
            assert client.frames.messages_received - before > len(written(600)) / ENTRY_BYTES


@pytest.mark.clause("O2", "O6")
async def test_bytes_that_come_one_by_one_are_the_same_frames() -> None:
    async with open_service(lines) as service, open_wire(service.port) as wire:
        wire.faults = Faults(slice_bytes=1)
        async with service.client(dial=wire.dial) as client:
            job = await client.submit("lines", {"count": 50})
            check(await read(client, job.id), 50)
            assert wire.opened == 1


@pytest.mark.clause("O2", "O6")
async def test_a_client_reads_and_is_cut_behind_tls_as_it_does_without() -> None:
    authority = trustme.CA()
    server_context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("localhost").configure_cert(server_context)
    client_context = ssl.create_default_context()
    authority.configure_trust(client_context)
    async with open_service(lines) as service, trio.open_nursery() as nursery:
        [listener] = await trio.open_tcp_listeners(0, host="127.0.0.1")
        port = listener.socket.getsockname()[1]

        async def terminate(stream: trio.SSLStream[trio.SocketStream]) -> None:
            """TLS ends here, as it does at a proxy."""
            async with await trio.open_tcp_stream("127.0.0.1", service.port) as gateway:
                await carry_both_ways(stream, gateway)

        nursery.start_soon(trio.serve_listeners, terminate, [trio.SSLListener(listener, server_context)])
        url = f"wss://localhost:{port}"
        async with trouper.connect(url, token="ada", ssl_context=client_context) as client:
            job = await client.submit("lines", {"count": 3000, "gate": "tls"})
            output = client.output(job.id)
            transcript = trouper.Transcript()
            async for item in output:
                transcript.add(item)
                if len(transcript.text) > 100_000:
                    break
            await client.drop_connection()
            GATES["tls"].set()
            async for item in output:
                transcript.add(item)
            check(transcript, 3000)
        nursery.cancel_scope.cancel()


async def carry_both_ways(one: trio.abc.Stream, other: trio.abc.Stream) -> None:
    async with trio.open_nursery() as nursery:

        async def carry(source: trio.abc.Stream, target: trio.abc.Stream) -> None:
            try:
                while data := await source.receive_some(65536):
                    await target.send_all(data)
            except (trio.BrokenResourceError, trio.ClosedResourceError):
                pass
            nursery.cancel_scope.cancel()

        nursery.start_soon(carry, one, other)
        await carry(other, one)


STOPPED = """
import sys, trio, trouper

async def main():
    async with trouper.connect(f"ws://127.0.0.1:{sys.argv[1]}", token="ada") as client:
        transcript = trouper.Transcript()
        async for item in client.output(sys.argv[2]):
            if not transcript.text:
                print("reading", flush=True)
            transcript.add(item)
        print(len(transcript.text), transcript.end.verified, flush=True)

trio.run(main)
"""


@pytest.mark.clause("O4", "O6")
@pytest.mark.skipif(not hasattr(signal, "SIGSTOP"), reason="this system stops no process")
async def test_a_client_whose_process_is_stopped_holds_up_nobody_and_reads_on_when_it_is_continued() -> None:
    async with open_service(lines) as service, service.client() as other:
        stopped = await service.runtime.submit(lines.call(count=40_000, gate="stop"), user="ada")
        command = [sys.executable, "-c", STOPPED, str(service.port), stopped.id]
        process = await trio.lowlevel.open_process(command, stdout=-1, cwd=ROOT)
        try:
            assert process.stdout is not None
            assert b"reading" in await process.stdout.receive_some()
            process.send_signal(signal.SIGSTOP)
            GATES["stop"].set()
            await service.runtime.wait(stopped.id)
            job = await other.submit("lines", {"count": 20})
            check(await read(other, job.id), 20)
            window = service.runtime.statistics()["in_flight_bytes"]
            assert window["most"] <= window["max"] + ENTRY_BYTES
            process.send_signal(signal.SIGCONT)
            said = b""
            while not said.rstrip().endswith((b"True", b"False")):
                said += await process.stdout.receive_some()
            assert said.split()[-2:] == [str(len(written(40_000))).encode(), b"True"]
        finally:
            process.kill()
            with trio.move_on_after(10, shield=True):
                await process.wait()
