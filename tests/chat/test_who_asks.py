"""Who is asking the chat server: the cookie, the names, other origins, and what a client may start."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from examples.chat.login import COOKIE, Login
from tests.chat.server import ChatServer, chat_server
from tests.chat.support import Answer, ask, client_of, has_ended, log_in, upgrade
from trouper.transport.client_errors import ClientStopped, CommandFailed
from trouper.transport.http import Request


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ChatServer]:
    with chat_server(tmp_path_factory.mktemp("chat")) as running:
        yield running


def test_the_page_asks_for_a_name_first(server: ChatServer) -> None:
    answer = ask(server, "GET", "/")
    assert (answer.status, answer.headers["location"]) == (303, "/login")
    assert "<form" in ask(server, "GET", "/login").body
    cookie = log_in(server, "ada").cookie
    page = ask(server, "GET", "/", cookie=cookie)
    assert (page.status, page.headers["content-type"]) == (200, "text/html; charset=utf-8")
    assert page.headers["cache-control"] == "no-cache"
    assert "<script" in page.body


def test_the_cookie_is_out_of_reach_of_scripts_and_other_sites(server: ChatServer) -> None:
    answer = log_in(server, "ada")
    assert (answer.status, answer.headers["location"]) == (303, "/")
    attributes = set(answer.headers["set-cookie"].split("; ")[1:])
    assert attributes == {"Max-Age=31536000", "Path=/", "HttpOnly", "SameSite=Strict"}


def test_logging_out_takes_the_cookie_back(server: ChatServer) -> None:
    cookie = log_in(server, "ada").cookie
    answer = ask(server, "POST", "/logout", cookie=cookie, origin=server.url)
    assert (answer.status, answer.headers["location"]) == (303, "/login")
    assert "Max-Age=0" in answer.headers["set-cookie"]
    assert answer.cookie == f"{COOKIE}="


def user_of(server: ChatServer, cookie: str) -> str | None:
    """Whom the server takes the bearer of a cookie for."""
    answer = ask(server, "GET", "/config.json", cookie=cookie)
    if answer.status == 401:
        return None
    user: str = answer.json["user"]
    return user


def forgeries(server: ChatServer) -> list[str]:
    """Cookies that the server did not sign, one way or another."""
    value = log_in(server, "ada").cookie.partition("=")[2]
    payload, stamp, signature = value.split(".")
    other = Login(b"another secret").log_in(Request(method="POST", target="/", headers={}, body=b"name=ada"))
    empty = Login(b"").log_in(Request(method="POST", target="/", headers={}, body=b"name=ada"))
    stolen = [dict(answer.headers)["set-cookie"].partition(";")[0] for answer in (other, empty)]
    made_up = [
        "",
        "ada",
        '"ada"',
        "ImFkYSI",
        f"{payload}.{stamp}",
        f"{payload}.{stamp}.",
        value[:-1],
        f"{value}x",
        f"ImV2ZSI.{stamp}.{signature}",  # "eve" under ada's signature
        f"{payload}.{stamp[:-1]}B.{signature}",
        "%00" * 50,
        "." * 1000,
        "é.ü.ø",
    ]
    return [*stolen, *(f"{COOKIE}={text}" for text in made_up), "other=1", f"{COOKIE}"]


def test_no_cookie_counts_but_one_that_was_signed_here(server: ChatServer) -> None:
    assert user_of(server, log_in(server, "ada").cookie) == "ada"
    for cookie in forgeries(server):
        assert user_of(server, cookie) is None, cookie
        assert ask(server, "GET", "/", cookie=cookie).status == 303, cookie


async def test_a_session_with_a_forged_cookie_is_closed_for_good(server: ChatServer) -> None:
    for cookie in [each for each in forgeries(server) if each.isascii()][:5]:
        async with client_of(server, cookie) as client:
            with pytest.raises(ClientStopped) as stopped:
                await client.wait_connected()
            assert stopped.value.code == 4501, cookie


async def test_a_session_is_the_users_who_logged_in(server: ChatServer) -> None:
    async with client_of(server, log_in(server, "Ada Lovelace").cookie) as client:
        assert (await client.wait_connected()).user == "Ada Lovelace"


@pytest.mark.parametrize("name", ["", "   ", "\t\n", "x" * 41, "a\x00b", "a\x1b[31m", "a\u202eb", "\u200b"])
def test_a_name_that_is_none_is_refused_with_what_is_legal(server: ChatServer, name: str) -> None:
    answer = log_in(server, name)
    assert answer.status == 400
    assert answer.body == "a name has 1 to 40 printable characters; go back and type one\n"
    assert "set-cookie" not in answer.headers


def test_a_form_without_a_name_is_refused_as_well(server: ChatServer) -> None:
    for body in ("", "nom=ada", "%", "name", "\x00", "name=" + "x" * 60_000):
        assert ask(server, "POST", "/login", body, origin=server.url).status == 400, body


@pytest.mark.parametrize(
    ("typed", "name"),
    [
        ("ada", "ada"),
        ("  ada  ", "ada"),
        ("Ada \t  Lovelace\r\n", "Ada Lovelace"),
        ("Ádám Žižek", "Ádám Žižek"),
        ("A\u0301da", "Áda"),  # composed or not, it is one person
        ("李小龍", "李小龍"),
        ("🦉", "🦉"),
        ("\u00a0ada\u2003", "ada"),
        ('";Path=/x', '";Path=/x'),
        ("x" * 40, "x" * 40),
        ("🦉" * 40, "🦉" * 40),
    ],
)
def test_a_name_is_kept_as_typed_but_for_spaces(server: ChatServer, typed: str, name: str) -> None:
    assert user_of(server, log_in(server, typed).cookie) == name


def test_a_name_that_is_not_utf_8_is_no_crash(server: ChatServer) -> None:
    answer = log_in(server, b"\xff\xfe")
    assert answer.status == 400 or user_of(server, answer.cookie) is not None


def test_the_configuration_is_for_those_who_logged_in(server: ChatServer) -> None:
    answer = ask(server, "GET", "/config.json")
    assert (answer.status, answer.json) == (401, {"error": "log in first"})
    answer = ask(server, "GET", "/config.json", cookie=log_in(server, "ada").cookie)
    assert answer.status == 200
    assert answer.headers["cache-control"] == "no-store"
    assert (answer.json["user"], answer.json["demo"]) == ("ada", False)
    assert [job["name"] for job in answer.json["jobs"]] == ["ask", "report", "review", "index"]


def test_whether_it_lives_and_takes_work_is_told_to_anybody(server: ChatServer) -> None:
    healthz, readyz = ask(server, "GET", "/healthz"), ask(server, "GET", "/readyz")
    assert (healthz.status, healthz.json) == (200, {"status": "ok"})
    assert (readyz.status, readyz.json) == (200, {"ready": True})


STRANGERS = [
    "http://evil.example",
    "null",
    "http://127.0.0.1",
    "http://[",
    "{port}",
]


@pytest.mark.parametrize("stranger", STRANGERS)
def test_other_origins_may_neither_post_nor_open_a_session(server: ChatServer, stranger: str) -> None:
    origin, cookie = stranger.format(port=server.port), log_in(server, "ada").cookie
    for answer in (
        log_in(server, "eve", origin=origin),
        ask(server, "POST", "/logout", cookie=cookie, origin=origin),
        upgrade(server, cookie=cookie, origin=origin),
        upgrade(server, origin=origin),
    ):
        assert answer.status == 403
        assert "set-cookie" not in answer.headers
    assert upgrade(server, cookie=cookie, origin=server.url).status == 101


def test_a_cookie_without_an_origin_is_refused(server: ChatServer) -> None:
    cookie = log_in(server, "ada").cookie
    assert upgrade(server, cookie=cookie).status == 403
    assert ask(server, "POST", "/logout", cookie=cookie).status == 403
    assert upgrade(server).status == 101  # it will say in its hello who it is, and be nobody


def test_the_demos_route_is_not_there_without_the_demo(server: ChatServer) -> None:
    answer: Answer = ask(server, "POST", "/demo/kill", "", origin=server.url)
    assert answer.status in (404, 405)
    assert ask(server, "GET", "/healthz").status == 200


def test_nothing_beside_the_page_is_served(server: ChatServer) -> None:
    for path in ("/server.py", "/../server.py", "/%2e%2e/login.py", "/vendor/../../login.py", "/chat.db"):
        assert ask(server, "GET", path).status == 404, path


REFUSED: list[tuple[str, dict[str, Any]]] = [
    ("report", {"surveyor": 1}),
    ("report", {"question": "x"}),
    ("review", {"depth": "facts only"}),
    ("ask", {}),
    ("ask", {"question": 7}),
    ("ask", {"question": None}),
    ("ask", {"question": ["x"]}),
    ("ask", {"question": "x", "more": 1}),
    ("index", {"folder": "/etc"}),
]


async def test_a_client_may_start_the_declared_jobs_with_their_arguments_alone(server: ChatServer) -> None:
    async with client_of(server, log_in(server, "ada").cookie) as client:
        for name in ("reports", "model", "build", "audit_all", "__import__"):
            with pytest.raises(CommandFailed) as failed:
                await client.submit(name, {})
            assert failed.value.code == "unknown_job", name
        for name, arguments in REFUSED:
            with pytest.raises(CommandFailed) as failed:
                await client.submit(name, arguments)
            assert failed.value.code == "bad_request", (name, arguments)
            assert not failed.value.retryable
            assert any(word in failed.value.message for word in arguments or {"question": 1})
        assert await client.jobs() == ()

        job = await client.submit("ask", {"question": "?!"})
        ended = await has_ended(client, job.id)
        assert (ended.state, ended.attempt, ended.error) == (
            "failed",
            1,
            "the question has no word to look for",
        )
        assert [each.job for each in client.feed.notifications] == [job.id]


async def test_one_user_cannot_reach_the_jobs_of_another(server: ChatServer) -> None:
    async with (
        client_of(server, log_in(server, "bob").cookie) as bob,
        client_of(server, log_in(server, "eve").cookie) as eve,
    ):
        job = await bob.submit("ask", {"question": "?!"}, key="k")
        await has_ended(bob, job.id)
        assert (await eve.cancel(job.id)).answer == "unknown"
        with pytest.raises(CommandFailed, match="unknown"):
            await eve.job(job.id)
        assert await eve.jobs() == ()
        assert await eve.notifications() == ()
        own = await eve.submit("ask", {"question": "?!"}, key="k")
        assert own.id != job.id


@pytest.mark.slow
def test_a_cookie_outlives_the_server_and_an_empty_secret_is_made_anew(tmp_path: Path) -> None:
    secret = tmp_path / "chat.db.secret"
    with chat_server(tmp_path) as server:
        cookie, kept = log_in(server, "ada").cookie, secret.read_bytes()
        assert re.fullmatch(rb"[\w-]{43}", kept)
        assert server.stop() == 0
        server.start()
        assert user_of(server, cookie) == "ada"
        assert secret.read_bytes() == kept
        server.kill()
        secret.write_bytes(b"\n")
        server.start()
        assert user_of(server, cookie) is None
        assert len(secret.read_bytes()) == 43
        assert secret.stat().st_mode & 0o777 == 0o600
