"""The chat server: a runtime on a SQLite file, its jobs, and one port for the page and the sessions."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

import trio

import trouper
from examples.chat import demo
from examples.chat import jobs as chat_jobs
from examples.chat.login import Login, secret_beside
from examples.chat.settings import Settings
from trouper.transport.http import Request, Response
from trouper.transport.site import Routes

STATIC = Path(__file__).parent / "static"


def kill_seam(kill_at: tuple[str, int] | None) -> Callable[[str], None]:
    """A ``fault`` for ``Seams`` that kills this process at a named point, as ``kill -9`` would."""
    passed = 0

    def fault(site: str) -> None:
        nonlocal passed
        if kill_at is not None and site == kill_at[0]:
            passed += 1
            if passed == kill_at[1]:
                os.kill(os.getpid(), signal.SIGKILL)

    return fault


class Pages:
    """What the port answers besides sessions and static files."""

    def __init__(self, login: Login, settings: Settings, environ: Mapping[str, str]) -> None:
        self._login = login
        self._demo = settings.demo
        self._menu = chat_jobs.menu(environ)

    def routes(self) -> Routes:
        routes: dict[tuple[str, str], Callable[[Request], Response]] = {
            ("GET", "/"): self.page,
            ("GET", "/login"): self.login_page,
            ("GET", "/config.json"): self.config,
            ("POST", "/login"): self._login.log_in,
            ("POST", "/logout"): self._login.log_out,
        }
        if self._demo:
            routes["POST", "/demo/kill"] = self.kill
        return routes

    def page(self, request: Request) -> Response:
        """The page, for those who have said their name; the others are asked for it first."""
        if self._login.user_of(request.cookies) is None:
            return Response.redirect("/login")
        return _html("index.html")

    def login_page(self, request: Request) -> Response:
        return _html("login.html")

    def config(self, request: Request) -> Response:
        user = self._login.user_of(request.cookies)
        if user is None:
            return Response.json({"error": "log in first"}, 401)
        return Response.json({"user": user, "demo": self._demo, "jobs": self._menu})

    def kill(self, request: Request) -> Response:
        """The demo's button: as hard as it gets, so no answer is given."""
        os.kill(os.getpid(), signal.SIGKILL)
        raise AssertionError("unreachable")


def _html(name: str) -> Response:
    body = (STATIC / name).read_bytes()
    return Response(200, body, "text/html; charset=utf-8", (("cache-control", "no-cache"),))


def job_environ(database: Path, environ: Mapping[str, str]) -> dict[str, str]:
    """``environ`` for the jobs: unless it says where, the index is beside the database, as everything is."""
    index = environ.get("TROUPER_CHAT_INDEX") or f"{database}.index"
    return {**environ, "TROUPER_CHAT_INDEX": index}


async def run(settings: Settings, environ: Mapping[str, str]) -> None:
    """Serve until SIGINT or SIGTERM; running jobs are released then and go on at the next start.

    Raises ``StoreError`` for a database that cannot be had, ``OSError`` for an address or a secret.
    """
    database = settings.database.absolute()
    environ = job_environ(database, environ)
    seams = trouper.Seams(fault=kill_seam(settings.kill_at))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(_stop_on_signal, nursery.cancel_scope)
        if demo.CHILD in environ:
            nursery.start_soon(_stop_when_orphaned, nursery.cancel_scope)
        async with (
            trouper.open_runtime(
                f"sqlite:///{database}", jobs=chat_jobs.jobs(environ), seams=seams
            ) as runtime,
            trio.open_nursery() as serving,
        ):
            login = Login(secret_beside(database))  # not before the database is known to be ours
            serve = partial(
                trouper.serve,
                runtime,
                host=settings.host,
                port=settings.port,
                authenticate=login.authenticate,
                static=STATIC,
                routes=Pages(login, settings, environ).routes(),
            )
            try:
                gateway = await serving.start(serve)
            except OSError as error:
                raise settings.cannot_listen(error) from error
            print(f"listening on {settings.url(gateway.port)}", flush=True)
        nursery.cancel_scope.cancel()


async def _stop_on_signal(scope: trio.CancelScope) -> None:
    """The first signal stops in order; a second one ends the process at once, as the system does it.

    (Not by a KeyboardInterrupt, which would come out wherever the code is at that moment and take its time
    to pass. The database needs no order: what was committed is there.)
    """
    with trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
        await anext(aiter(signals))
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    scope.cancel()


async def _stop_when_orphaned(scope: trio.CancelScope) -> None:
    """The other end of our standard input is held by the parent of ``--demo``, and by nobody else."""
    async with trio.lowlevel.FdStream(os.dup(0)) as lifeline:
        while await lifeline.receive_some():
            pass
    scope.cancel()
