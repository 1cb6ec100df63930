"""Carries out a session's commands against the runtime, as its user and no other.

Whatever goes wrong is the reply of that command alone: refusals keep their code, and an unexpected
exception is told to the runtime's reporter and answered ``internal``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, cast

import orjson

from trouper.actors.job_spec import BadArguments
from trouper.store.errors import StoreUnavailable
from trouper.store.protocol import Mark, OnBusy
from trouper.supervisor.refusals import Refusal
from trouper.transport import messages, views
from trouper.transport.codec import encode_row
from trouper.transport.codes import ErrorCode
from trouper.transport.errors import ProtocolBroken
from trouper.transport.messages import Command, ErrorBody, Reply
from trouper.transport.ports import GatewayRuntime


class _Unknown(Exception):
    """No such job of this user; another user's is as good as none."""


async def carry_out(
    runtime: GatewayRuntime,
    user: str,
    command: Command,
    *,
    max_reply_bytes: int,
    on_crash: Callable[[Exception], None],
) -> Reply:
    """Carry out ``command`` for ``user``; its one reply. A list is cut at ``max_reply_bytes``.

    **Cancellation**: what was handed to the store is done all the same.
    """
    try:
        return Reply(command.id, ok=await _answer(runtime, user, command, max_reply_bytes))
    except _Unknown as error:
        return _refused(command, ErrorCode.UNKNOWN, str(error))
    except BadArguments as error:
        return _refused(command, ErrorCode.BAD_REQUEST, str(error))
    except Refusal as error:
        return Reply(command.id, error=ErrorBody(error.code, str(error), error.retryable))
    except StoreUnavailable as error:
        return _refused(command, ErrorCode.UNAVAILABLE, str(error))
    except ProtocolBroken as error:  # a row that cannot be written: it would be as bad the next time
        on_crash(error)
        message = "the answer cannot be written as JSON; it was reported there"
        return Reply(command.id, error=ErrorBody(ErrorCode.INTERNAL, message))
    except Exception as error:
        on_crash(error)
        return _refused(
            command, ErrorCode.INTERNAL, "the server failed on this command; it was reported there"
        )


def _refused(command: Command, code: ErrorCode, message: str) -> Reply:
    return Reply(command.id, error=ErrorBody(code, message, code.retryable))


async def _answer(runtime: GatewayRuntime, user: str, command: Command, most: int) -> dict[str, Any]:
    match command:
        case messages.Submit():
            return await _submit(runtime, user, command)
        case messages.Cancel():
            if command.job is not None:
                result = await runtime.cancel(command.job, user=user)
            else:
                result = await runtime.cancel_key(command.key or "", user=user)
            job = None if result.job is None else views.job_detail(result.job)
            return {"answer": str(result.answer), "job": job}
        case messages.Signal():
            signalled = await runtime.signal(command.job, command.message, id=command.key, user=user)
            return {"answer": str(signalled)}
        case messages.Answer():
            outcome = await runtime.answer(command.job, command.key, command.value, user=user)
            return {"answer": str(outcome)}
        case messages.Mark():
            counts = await runtime.mark(
                user,
                cast(Mark, command.mark),
                ids=command.ids or (),
                job_id=command.job,
                upto_seq=command.upto,
            )
            return {"counts": views.counts(counts)}
        case messages.GetJob():
            found = await runtime.job(command.job, user=user)
            if found is None:
                raise _Unknown(f"there is no job {command.job!r} of yours")
            return {"job": views.job_detail(found)}
        case messages.ListMessages():
            sent = await runtime.messages(command.job, user=user, after=command.after, limit=command.limit)
            if sent is None:
                raise _Unknown(f"there is no job {command.job!r} of yours")
            return {"messages": _cut(map(views.message_row, sent), most)}
        case messages.ListJobs():
            jobs = await runtime.jobs(user, thread=command.thread, before=command.before, limit=command.limit)
            return {"jobs": _cut(map(views.job_detail, jobs), most)}
        case messages.ListThreads():
            threads = await runtime.threads(user, before=command.before, limit=command.limit)
            return {"threads": _cut(map(views.thread_row, threads), most)}
        case messages.ListNotifications():
            inbox = await runtime.inbox(user, before=command.before, limit=command.limit)
            return {"notifications": _cut(map(views.notification_row, inbox), most)}
        case _:
            raise NotImplementedError(f"no one carries out {command.t!r}")


async def _submit(runtime: GatewayRuntime, user: str, command: messages.Submit) -> dict[str, Any]:
    job, created = await runtime.submit_named(
        command.job,
        command.arguments,
        user=user,
        thread=command.thread,
        idempotency_key=command.key,
        on_busy=cast(OnBusy, command.on_busy),
        at=command.at,
        delay=command.delay_s or 0.0,
        clients_only=True,
    )
    return {"job": views.job_detail(job), "created": created}


def _cut(rows: Iterable[object], most: int) -> list[orjson.Fragment]:
    """``rows`` as JSON, as many as fit (one always does): rows hold arguments and results, and a
    hundred of them could be larger than anybody wants in one message."""
    encoded: list[orjson.Fragment] = []
    size = 0
    for row in rows:
        text = encode_row(row)
        size += len(text)
        if encoded and size > most:
            break
        encoded.append(orjson.Fragment(text))
    return encoded
