"""``python -m examples.chat``: see ``--help``."""

from __future__ import annotations

import os
import sys

import trio

from examples.chat import demo, server
from examples.chat.settings import parse
from trouper.store.errors import StoreError


def main() -> int:
    """The exit code: 0 after an orderly stop, 1 if it could not start, 130 when interrupted twice."""
    settings = parse(sys.argv[1:])
    if settings.demo and demo.CHILD not in os.environ:
        return demo.run(settings)
    code = 0
    try:
        trio.run(server.run, settings, os.environ)
    except* (StoreError, OSError) as group:
        code = 1
        for error in _leaves(group):
            print(f"examples.chat: {error}", file=sys.stderr)
    except* KeyboardInterrupt:
        code = 130
    return code


def _leaves(group: BaseExceptionGroup[BaseException]) -> list[BaseException]:
    return [
        leaf
        for error in group.exceptions
        for leaf in (_leaves(error) if isinstance(error, BaseExceptionGroup) else [error])
    ]


if __name__ == "__main__":
    sys.exit(main())
