"""HTTP on the gateway's port, over loopback: what is answered, and what is refused."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest
import trio

from tests.transport.loopback import open_place
from trouper.transport.http import Request, Response, parse_cookies
from trouper.transport.options import GatewayOptions
from trouper.transport.origin import same_origin
from trouper.transport.site import Routes


@pytest.fixture
def pages(tmp_path: Path) -> Path:
    root = tmp_path / "pages"
    (root / "sub").mkdir(parents=True)
    (root / "index.html").write_text("<h1>hello</h1>")
    (root / "app.js").write_text("export {}")
    (root / "sub" / "a b.txt").write_text("found")
    (root / ".hidden").write_text("secret")
    (root / "large.bin").write_bytes(b"x" * 2000)
    (tmp_path / "outside.txt").write_text("secret")
    (root / "link.txt").symlink_to(tmp_path / "outside.txt")
    (root / ".git").mkdir()
    (root / ".git" / "config").write_text("secret")
    (root / "to-hidden.txt").symlink_to(root / ".hidden")
    (root / "to-git").symlink_to(root / ".git", target_is_directory=True)
    (root / "to-app.js").symlink_to(root / "app.js")
    return root


async def test_the_page_and_its_files_are_served_with_their_types(pages: Path) -> None:
    async with open_place(pages) as place:
        index = await place.get("/")
        assert (index.status, index.body) == (200, b"<h1>hello</h1>")
        assert index.headers["content-type"] == "text/html; charset=utf-8"
        assert index.headers["cache-control"] == "no-cache"
        assert index.headers["content-security-policy"].startswith("default-src 'self';")
        assert index.headers["x-content-type-options"] == "nosniff"
        assert index.headers["referrer-policy"] == "same-origin"
        assert (await place.get("/app.js?v=1")).headers["content-type"] == "text/javascript; charset=utf-8"
        assert (await place.get("/sub/a%20b.txt")).body == b"found"
        assert (await place.get("http://here.test/app.js")).status == 200


@pytest.mark.clause("E1")
async def test_a_link_serves_no_hidden_file_beside_it_and_other_files_as_they_are(pages: Path) -> None:
    async with open_place(pages) as place:
        for path in ("/to-hidden.txt", "/to-git/config", "/.git/config"):
            assert (await place.get(path)).status == 404, path
        assert (await place.get("/to-app.js")).body == (await place.get("/app.js")).body


async def test_a_file_that_did_not_change_is_not_sent_again(pages: Path) -> None:
    async with open_place(pages) as place:
        etag = (await place.get("/app.js")).headers["etag"]
        again = await place.get("/app.js", If_None_Match=f'"other", W/{etag}')
        assert (again.status, again.body) == (304, b"")
        (pages / "app.js").write_text("changed")
        assert (await place.get("/app.js", If_None_Match=etag)).body == b"changed"


async def test_head_is_answered_without_the_body(pages: Path) -> None:
    async with open_place(pages) as place:
        head = await place.ask("HEAD / HTTP/1.1\r\nHost: here.test\r\n\r\n")
        assert (head.status, head.headers["content-length"], head.body) == (200, "14", b"")


@pytest.mark.parametrize(
    "path",
    [
        "/../outside.txt", "/sub/../../outside.txt", "/%2e%2e/outside.txt", "/..%2foutside.txt",
        "/sub%2f..%2f..%2foutside.txt", "/link.txt", "/.hidden", "/sub", "/sub/", "//etc/passwd",
        "/%2fetc/passwd", "/a%00b", "/..%5coutside.txt", "/c:%5cx", "/large.bin", "/nothing.txt", "/%ff",
        "/" + "a" * 3000, "*",
    ],
)  # fmt: skip
async def test_what_is_outside_hidden_large_or_absent_is_not_found(pages: Path, path: str) -> None:
    async with open_place(pages, options=GatewayOptions(max_file_bytes=1000)) as place:
        answer = await place.get(path)
        assert answer.status == 404
        assert b"secret" not in answer.body


async def test_the_browser_client_is_served_from_the_package() -> None:
    async with open_place() as place:
        module = await place.get("/_trouper/trouper.js")
        assert (module.status, module.headers["content-type"]) == (200, "text/javascript; charset=utf-8")
        assert (await place.get("/")).status == 404


async def test_health_is_told_as_json() -> None:
    async with open_place() as place:
        health = await place.get("/healthz")
        assert (health.status, health.json()) == (200, {"status": "ok"})
        assert health.headers["cache-control"] == "no-store"
        assert ((await place.get("/readyz")).status, (await place.get("/readyz")).json()) == (
            200,
            {"ready": True},
        )
        place.runtime.ready = False
        not_ready = await place.get("/readyz")
        assert (not_ready.status, not_ready.json()) == (503, {"ready": False})
        assert (await place.post("/healthz")).status == 405


async def login(request: Request) -> Response:
    await trio.lowlevel.checkpoint()
    name = request.form().get("name", "")
    return Response.redirect("/", (("set-cookie", f"user={name}"), ("set-cookie", "seen=1; Path=/")))


def echo(request: Request) -> Response:
    return Response.json({"query": request.query, "cookies": request.cookies, "peer": request.peer})


def bug(request: Request) -> Response:
    raise ZeroDivisionError("a bug in the application")


def panic(request: Request) -> Response:
    raise asyncio.CancelledError


def nonsense(request: Request) -> Response:
    return "not a response"  # type: ignore[return-value]


async def slow(request: Request) -> Response:
    await trio.sleep_forever()
    raise AssertionError


ROUTES: Routes = {
    ("POST", "/login"): login,
    ("GET", "/echo"): echo,
    ("GET", "/bug"): bug,
    ("GET", "/panic"): panic,
    ("GET", "/nonsense"): nonsense,
    ("GET", "/slow"): slow,
}


async def test_routes_are_answered_by_their_handlers(pages: Path) -> None:
    async with open_place(pages, ROUTES) as place:
        answer = await place.post("/login", "name=Ada+L&name=Ada", Origin="http://here.test")
        assert (answer.status, answer.headers["location"], answer.body) == (303, "/", b"")
        echoed = await place.get("/echo?a=1&a=2&b=", Cookie="user=ada; theme=dark")
        assert echoed.json() == {
            "query": {"a": "2", "b": ""},
            "cookies": {"user": "ada", "theme": "dark"},
            "peer": "127.0.0.1",
        }
        assert (await place.ask("HEAD /echo HTTP/1.1\r\nHost: here.test\r\n\r\n")).status == 200


async def test_several_cookies_are_several_headers(pages: Path) -> None:
    async with open_place(pages, ROUTES) as place, place.dial() as client:
        await client.send("POST /login HTTP/1.1\r\nHost: here.test\r\nContent-Length: 8\r\n\r\nname=ada")
        with trio.fail_after(5):
            raw = bytes(await client.stream.receive_some())
        assert raw.count(b"set-cookie: ") == 2


@pytest.mark.clause("E1")
@pytest.mark.parametrize("path", ["/bug", "/panic", "/nonsense", "/slow"])
async def test_a_handler_that_fails_is_reported_and_answered_500(path: str) -> None:
    async with open_place(routes=ROUTES, options=GatewayOptions(response_s=0.2)) as place:
        assert (await place.get(path)).status == 500
        assert [where for where, _ in place.crashes] == [path]
        assert (await place.get("/echo")).status == 200


async def test_another_method_of_a_known_path_is_405_and_names_what_is_legal(pages: Path) -> None:
    async with open_place(pages, ROUTES) as place:
        wrong = await place.post("/echo")
        assert (wrong.status, wrong.headers["allow"]) == (405, "GET, HEAD")
        assert (await place.get("/login")).headers["allow"] == "POST"
        assert (await place.post("/app.js")).status == 405
        assert (await place.post("/nothing")).status == 404


@pytest.mark.parametrize(
    ("headers", "passes"),
    [
        ({"Origin": "http://here.test"}, True),
        ({"Origin": "http://HERE.test"}, True),
        ({"Origin": "http://here.test:80"}, True),
        ({"Origin": "https://here.test"}, True),
        ({"Origin": "http://elsewhere.test"}, False),
        ({"Origin": "http://here.test:8000"}, False),
        ({"Origin": "http://here.test.evil.test"}, False),
        ({"Origin": "null"}, False),
        ({"Origin": "http://here.test:x"}, False),
        ({"Origin": ""}, False),
        ({}, True),
        ({"Cookie": "user=ada"}, False),
    ],
)
async def test_a_post_passes_only_from_the_same_origin(headers: dict[str, str], passes: bool) -> None:
    async with open_place(routes=ROUTES) as place:
        answer = await place.post("/login", "name=ada", **headers)
        assert answer.status == (303 if passes else 403)


def test_the_port_is_part_of_the_origin() -> None:
    assert same_origin({"host": "127.0.0.1:8000", "origin": "http://127.0.0.1:8000"})
    assert not same_origin({"host": "127.0.0.1:8000", "origin": "http://127.0.0.1"})
    assert same_origin({"host": "[::1]:8000", "origin": "http://[::1]:8000"})
    assert not same_origin({"host": "[::1", "origin": "http://[::1]:8000"})
    assert not same_origin({"origin": "http://here.test"})


@pytest.mark.clause("E1")
@pytest.mark.parametrize(
    ("request_text", "status"),
    [
        ("NONSENSE\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\nHost: a\r\nBad Header: x\r\n\r\n", 400),
        ("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: x\r\n\r\n", 400),
        ("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: strange\r\n\r\n", 501),
        (
            "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
            400,
        ),
        ("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", 400),
        ("GET / HTTP/1.1\r\nHost: a\r\nX: " + "y" * 20000 + "\r\n\r\n", 431),
        ("y" * 20000, 431),
        ("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 70000\r\n\r\n" + "y" * 70000, 413),
        ("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n11171\r\n" + "y" * 70001, 413),
    ],
)
async def test_a_bad_request_is_answered_briefly_and_its_connection_ends(
    request_text: str, status: int
) -> None:
    async with open_place() as place:
        async with place.dial() as client:
            await client.send(request_text)
            answer = await client.answer()
            assert answer.status == status
            assert answer.headers["content-type"].startswith("text/plain")
            assert answer.headers["connection"] == "close"
            await client.stream.send_eof()
            assert await client.ended()
        assert place.runtime.reports == []
        assert (await place.get("/healthz")).status == 200


@pytest.mark.clause("E2")
@pytest.mark.parametrize(
    ("sent", "status"),
    [("GET / HTTP/1.1\r\nHost: a", 408), ("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nab", 408)],
)
async def test_a_request_that_does_not_come_is_408(sent: str, status: int) -> None:
    async with open_place(options=GatewayOptions(head_s=0.2)) as place, place.dial() as client:
        await client.send(sent)
        assert (await client.answer()).status == status


@pytest.mark.clause("E2")
async def test_a_connection_that_says_nothing_is_closed_in_time() -> None:
    async with open_place(options=GatewayOptions(head_s=0.2, idle_s=0.2)) as place:
        async with place.dial() as client:
            assert await client.ended()
        async with place.dial() as client:
            await client.send("GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n")
            await client.answer()
            assert await client.ended()


async def test_a_connection_is_kept_for_more_requests_also_when_they_come_at_once() -> None:
    async with open_place(routes=ROUTES) as place, place.dial() as client:
        one = "GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n"
        two = "POST /login HTTP/1.1\r\nHost: a\r\nContent-Length: 8\r\n\r\nname=ada"
        await client.send(one + two + one)
        assert [(await client.answer()).status for _ in range(3)] == [200, 303, 200]
        await client.send("GET /healthz HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
        assert (await client.answer()).headers["connection"] == "close"
        assert await client.ended()


async def test_an_old_client_is_answered_once() -> None:
    async with open_place() as place, place.dial() as client:
        await client.send("GET /healthz HTTP/1.0\r\n\r\n")
        assert (await client.answer()).status == 200
        assert await client.ended()


async def test_a_client_that_asks_first_is_told_to_go_on() -> None:
    async with open_place(routes=ROUTES) as place, place.dial() as client:
        await client.send(
            "POST /login HTTP/1.1\r\nHost: a\r\nContent-Length: 8\r\nExpect: 100-continue\r\n\r\n"
        )
        assert (await client.answer()).status == 100
        await client.send("name=ada")
        assert (await client.answer()).status == 303


@pytest.mark.clause("E2")
async def test_connections_beyond_the_limit_are_answered_503() -> None:
    async with open_place(options=GatewayOptions(max_connections=1)) as place:
        async with place.dial() as first:
            await first.send("GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n")
            assert (await first.answer()).status == 200
            refused = await place.get("/healthz")
            says = b"1 connections are open, which is the limit (max_connections)\n"
            assert (refused.status, refused.body) == (503, says)
        assert place.gateway.statistics().refused_connections == 1
        await until(lambda: not place.gateway.statistics().connections)
        assert (await place.get("/healthz")).status == 200


async def until(condition: Callable[[], bool]) -> None:
    """Let the gateway notice what happened on its sockets."""
    with trio.fail_after(5):
        while not condition():  # noqa: ASYNC110 - what is waited for is another socket's end
            await trio.sleep(0.001)


UPGRADE = {
    "Upgrade": "websocket",
    "Connection": "Upgrade",
    "Sec-WebSocket-Version": "13",
    "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
    "Sec-WebSocket-Protocol": "chat, trouper.v1",
}


@pytest.mark.parametrize(
    ("changes", "status"),
    [
        ({}, 101),
        ({"Origin": "http://here.test"}, 101),
        ({"Origin": "http://elsewhere.test"}, 403),
        ({"Origin": "http://here.test:8080"}, 403),
        ({"Origin": "http://here.test:8080", "host": "here.test:8080"}, 101),
        ({"Origin": "ftp://here.test"}, 403),
        ({"Origin": "null"}, 403),
        ({"Cookie": "user=ada"}, 403),
        ({"Cookie": "user=ada", "Origin": "https://here.test"}, 101),
        ({"Sec-WebSocket-Protocol": "chat"}, 400),
        ({"Sec-WebSocket-Version": "8"}, 426),
        ({"Sec-WebSocket-Version": ""}, 426),
        ({"Connection": "keep-alive"}, 400),
        ({"Connection": "keep-alive, Upgrade"}, 101),
        ({"Upgrade": "h2c"}, 426),
        ({"Sec-WebSocket-Key": "nonsense"}, 400),
        ({"Sec-WebSocket-Key": "c2hvcnQ="}, 400),
        ({"Sec-WebSocket-Key": ""}, 400),
    ],
)
async def test_a_websocket_is_upgraded_only_as_the_specification_says(
    changes: dict[str, str], status: int
) -> None:
    async with open_place() as place:
        headers = {name.replace("-", "_"): value for name, value in (UPGRADE | changes).items()}
        answer = await place.get("/ws", **headers)
        assert answer.status == status
        if status == 101:
            assert answer.headers["sec-websocket-protocol"] == "trouper.v1"
        elif status == 426:
            assert answer.headers["upgrade"] == "websocket"
        if changes.get("Sec-WebSocket-Version") is not None:
            assert answer.headers["sec-websocket-version"] == "13"


async def test_a_host_that_is_no_name_is_no_failure_of_an_upgrade() -> None:
    async with open_place() as place, place.dial() as client:
        lines = [f"{name}: {value}" for name, value in UPGRADE.items()]
        await client.send("\r\n".join(["GET /ws HTTP/1.1", "Host: xn--a", *lines, "", ""]))
        assert (await client.answer()).status == 101


async def test_no_websocket_for_a_client_of_http_1_0() -> None:
    async with open_place() as place, place.dial() as client:
        lines = [f"{name}: {value}" for name, value in UPGRADE.items()]
        await client.send("\r\n".join(["GET /ws HTTP/1.0", "Host: a", *lines, "", ""]))
        assert (await client.answer()).status == 426


async def test_a_plain_request_for_the_websocket_is_told_to_upgrade() -> None:
    async with open_place() as place:
        assert (await place.get("/ws")).status == 426
        assert (await place.post("/ws")).status == 405


def test_of_a_repeated_cookie_the_first_counts() -> None:
    assert parse_cookies('a=1; b = 2;c="3";; a=4; d') == {"a": "1", "b": "2", "c": "3"}
