"""``python -m examples.chat``: see ``--help``."""

from __future__ import annotations

import os
import sys


def main() -> int:
    """The exit code: 0 after an orderly stop, 1 if it could not start, 130 if interrupted before that.

    A second signal ends the process itself, without an exit code of ours.
    """
    code = 0
    try:
        code = _run()
    except* ImportError as group:
        code = _complain(group, " (pip install -e '.[chat]' brings all that is needed)")
    except* KeyboardInterrupt:
        code = 130
    except* Exception as group:
        from examples.chat.settings import BadSetting
        from trouper.store.errors import StoreError

        expected, bugs = group.split((StoreError, OSError, BadSetting))
        if bugs is not None:
            raise bugs from None
        assert expected is not None
        code = _complain(expected)
    return code


def _run() -> int:
    # Imported here, so that what is not installed is told in one line as well.
    import trio

    from examples.chat import demo, server
    from examples.chat.settings import parse

    settings = parse(sys.argv[1:])
    if settings.demo and demo.CHILD not in os.environ:
        return demo.run(settings)
    trio.run(server.run, settings, os.environ)
    return 0


def _complain(group: BaseExceptionGroup[BaseException], hint: str = "") -> int:
    """One line for each error."""
    for error in group.exceptions:
        if isinstance(error, BaseExceptionGroup):
            _complain(error, hint)
        else:
            print(f"examples.chat: {error}{hint}", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main())
