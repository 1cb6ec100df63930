"""What ``python -m examples.chat`` can be told: by its command line, and by the environment.

The environment says where a model is (``OPENAI_BASE_URL`` …) and what tests want
(``TROUPER_CHAT_…``); everything else is an option of the command.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import attrs

DEFAULT_DATABASE = "chat.db"


class BadSetting(Exception):
    """The environment says something that cannot be meant; names it and what is legal."""


@attrs.frozen
class Settings:
    """The command line."""

    host: str
    port: int
    """0: any free one, which is printed."""
    database: Path
    demo: bool
    kill_at: tuple[str, int] | None
    """A named fault point and its occurrence, at which the process kills itself; for tests."""

    def url(self, port: int) -> str:
        """Where it is reached when it listens on ``port``."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"http://{host}:{port}"

    def cannot_listen(self, error: OSError) -> OSError:
        """``error``, which does not say so, with the address that it is about."""
        return OSError(f"cannot listen on {self.url(self.port)}: {error.strerror or error}")


def _port(text: str) -> int:
    if not text.isascii() or not text.isdigit() or not 0 <= int(text) <= 65535:
        raise argparse.ArgumentTypeError(f"{text!r}: legal are 0 (any free one) to 65535")
    return int(text)


def _database(text: str) -> Path:
    """A file, since the cookies' secret and the index lie beside it, and --demo kills the server."""
    memory = text.strip(":").lower() in ("memory", "mem") and ":" in text
    if memory or "://" in text or text.startswith(("sqlite:", "file:")) or not text:
        where = "in memory there is nothing to come back to; " if memory else ""
        raise argparse.ArgumentTypeError(
            f"{text!r}: {where}legal is the path of a file, as {DEFAULT_DATABASE}"
        )
    return Path(text)


def _fault_point(text: str) -> tuple[str, int]:
    site, colon, occurrence = text.rpartition(":")
    if not site or not colon or not occurrence.isdigit() or int(occurrence) < 1:
        raise argparse.ArgumentTypeError(f"{text!r}: legal is SITE:N, N from 1, as output.committed:3")
    return site, int(occurrence)


def parse(argv: Sequence[str]) -> Settings:
    """The settings, or exit with a usage message."""
    parser = argparse.ArgumentParser(
        prog="python -m examples.chat",
        description="A chat whose work outlives the tab: reports, questions, and a model if there is one.",
        epilog="Beside the database are kept: DATABASE.secret, which signs the cookies of those who logged "
        "in; DATABASE.index/, the index of the installed packages (TROUPER_CHAT_INDEX names another folder); "
        "DATABASE.lock, which says that a server uses it. OPENAI_BASE_URL offers a language model "
        "(with OPENAI_API_KEY and OPENAI_MODEL).",
    )
    parser.add_argument("--host", default="127.0.0.1", help="the address to listen on (default: %(default)s)")
    parser.add_argument("--port", type=_port, default=8000, help="0 for any free one (default: %(default)s)")
    parser.add_argument(
        "--database",
        type=_database,
        default=Path(DEFAULT_DATABASE),
        help="the SQLite file (default: %(default)s)",
    )
    parser.add_argument(
        "--demo",
        action="store_true",
        help="buttons that cut the connection and kill the server, and the frames",
    )
    parser.add_argument("--kill-at", type=_fault_point, default=None, help=argparse.SUPPRESS)
    options = parser.parse_args(argv)
    return Settings(options.host, options.port, options.database, options.demo, options.kill_at)
