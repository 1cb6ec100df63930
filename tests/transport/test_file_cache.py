"""Files in memory: once for all who are sent them, as they are on disk, up to a bound."""

from __future__ import annotations

import os
import tracemalloc
from contextlib import AsyncExitStack
from functools import partial
from pathlib import Path

import pytest
import trio

from tests.transport.loopback import open_place
from tests.transport.test_http import until
from trouper.simulation import Network
from trouper.transport.file_cache import FileCache
from trouper.transport.options import GatewayOptions

SIZE = 4 * 1024 * 1024
READERS = 25
LATER = partial(float, 1e11)
"""A clock by which every file was written long ago."""


def write(path: Path, content: bytes) -> Path:
    path.write_bytes(content)
    return path


@pytest.mark.clause("E2")
@pytest.mark.parametrize("kept", [True, False], ids=["that_is_kept", "larger_than_the_cache"])
async def test_many_slow_readers_of_a_file_hold_one_copy_of_it(kept: bool, tmp_path: Path) -> None:
    write(tmp_path / "large.bin", os.urandom(SIZE))
    network = Network()
    options = GatewayOptions(file_cache_bytes=SIZE if kept else 1000)
    async with (
        open_place(tmp_path, options=options, listen=network.listen) as place,
        AsyncExitStack() as readers,
    ):
        tracemalloc.start()
        try:
            for _ in range(READERS):
                stream = await readers.enter_async_context(await network.dial())
                await stream.send_all(b"GET /large.bin HTTP/1.1\r\nHost: here.test\r\n\r\n")
            await until(lambda: place.gateway.statistics().requests == READERS)
            await trio.testing.wait_all_tasks_blocked(0.01)
            held, _ = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        assert held < SIZE + READERS * 300_000, "what is under way to each, and the file"
        statistics = place.gateway.statistics()
        assert statistics.file_bytes == SIZE
        assert statistics.file_cache_bytes == (SIZE if kept else 0)
        await readers.aclose()
        await until(lambda: place.gateway.statistics().connections == 0)
        assert place.gateway.statistics().file_bytes == (SIZE if kept else 0)


async def test_a_connection_that_is_idle_after_a_file_does_not_hold_it(tmp_path: Path) -> None:
    write(tmp_path / "page.txt", b"x" * 5000)
    async with (
        open_place(tmp_path, options=GatewayOptions(file_cache_bytes=10)) as place,
        place.dial() as idle,
    ):
        await idle.send("GET /page.txt HTTP/1.1\r\nHost: here.test\r\n\r\n")
        assert (await idle.answer()).body == b"x" * 5000
        await until(lambda: place.gateway.statistics().file_bytes == 0)
        assert place.gateway.statistics().connections == 1


async def test_a_large_file_comes_whole_in_all_its_pieces(tmp_path: Path) -> None:
    content = os.urandom(1_000_003)
    write(tmp_path / "large.bin", content)
    async with open_place(tmp_path) as place, place.dial() as client:
        for _ in range(2):
            await client.send("GET /large.bin HTTP/1.1\r\nHost: here.test\r\n\r\n")
            assert (await client.answer()).body == content
        await client.send("HEAD /large.bin HTTP/1.1\r\nHost: here.test\r\n\r\n")
        assert (await client.answer(no_body=True)).headers["content-length"] == "1000003"


def test_a_file_that_changes_on_disk_is_read_again(tmp_path: Path) -> None:
    cache = FileCache(1000, LATER)
    path = write(tmp_path / "page", b"one")
    first = cache.get(path)
    assert cache.get(path) is first
    before = path.stat()
    write(tmp_path / "new", b"two").replace(path)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    second = cache.get(path)
    assert (first.content, second.content) == (b"one", b"two")
    assert first.etag != second.etag
    assert cache.kept_bytes == 3, "the old one is nobody's but ours"
    path.write_bytes(b"three")
    assert cache.get(path).content == b"three"
    path.unlink()
    with pytest.raises(FileNotFoundError):
        cache.get(path)


def test_a_file_that_is_written_twice_in_one_tick_is_read_again_until_the_tick_is_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write(tmp_path / "page", b"one")
    stat = path.stat()
    written_at = stat.st_mtime
    # The file system's clock stands still: its number, its size and its times stay as they are.
    monkeypatch.setattr(
        "trouper.transport.file_cache._version", lambda path: (1, 3, 0, int(written_at * 1e9))
    )
    now = written_at + 0.5
    cache = FileCache(1000, lambda: now)
    first = cache.get(path)
    assert cache.get(path) is first, "one that did not change is there once"
    path.write_bytes(b"two")
    assert cache.get(path).content == b"two"
    assert cache.kept_bytes == 3
    now = written_at + 2.1
    settled = cache.get(path)
    path.unlink()
    assert cache.get(path) is settled, "from now on a write would leave another version: nothing is read"


def test_what_was_asked_for_last_is_kept_up_to_the_bound(tmp_path: Path) -> None:
    cache = FileCache(100, LATER)
    paths = [write(tmp_path / str(number), bytes([number]) * 40) for number in range(3)]
    for path in (paths[0], paths[1], paths[0], paths[2]):
        cache.get(path)
        assert cache.kept_bytes <= 100
    assert cache.kept_bytes == cache.living_bytes == 80
    held = cache.get(paths[1])  # puts out 0
    cache.get(paths[0])
    cache.get(paths[2])  # … and 1, but somebody holds that
    assert cache.living_bytes == 120
    assert cache.get(paths[1]) is held


def test_a_file_that_is_written_to_while_it_is_read_is_not_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache = FileCache(100, LATER)
    path = write(tmp_path / "page", b"half")
    read = Path.read_bytes

    def read_late(self: Path) -> bytes:
        content = read(self)
        path.write_bytes(b"half and half")
        return content

    monkeypatch.setattr(Path, "read_bytes", read_late)
    assert cache.get(path).content == b"half"
    assert cache.kept_bytes == cache.living_bytes == 0
    monkeypatch.undo()
    assert cache.get(path).content == b"half and half"
