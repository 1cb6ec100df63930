"""What people send to a job: checked before the store is asked, and its refusals as errors. No ``await``."""

from __future__ import annotations

import orjson

from trouper.actors.job_context import to_json
from trouper.actors.job_errors import BadState, beyond
from trouper.actors.job_spec import BadArguments
from trouper.actors.questions import wrong_with
from trouper.store.questions import open_question
from trouper.store.records import Job
from trouper.store.signals import SignalAnswer, SignalClash, SignalRow, SignalsFull
from trouper.supervisor.refusals import KeyConflict, SignalsAreFull


def canonical(value: object, what: str, bytes_max: int, option: str) -> str:
    """JSON text of a value, so that the same again is known. Raises ``BadArguments``, naming ``option`` if it
    has more than ``bytes_max``."""
    try:
        body = to_json(value, what)
    except BadState as error:
        raise BadArguments(str(error)) from None
    body = orjson.dumps(orjson.loads(body), option=orjson.OPT_SORT_KEYS).decode()
    if (size := len(body.encode())) > bytes_max:
        raise BadArguments(beyond(what, size, "bytes of JSON", bytes_max, option))
    return body


def check_answer(job: Job | None, key: str, value: str) -> bool:
    """Raise ``BadArguments`` if ``value`` (JSON) is no answer to the open question of ``job``. False if there
    is none, or another: what is to be answered then is the store's to say."""
    question = open_question(None if job is None else job.asking)
    if question.get("key") != key:
        return False
    fault = wrong_with(orjson.loads(value), question.get("schema", {}))
    if fault is not None:
        raise BadArguments(fault)
    return True


def signalled(result: SignalAnswer | SignalClash | SignalsFull, row: SignalRow) -> SignalAnswer:
    """The answer, or the refusal as an error."""
    match result:
        case SignalClash():
            raise KeyConflict(f"message {row.id!r} was sent to job {row.job} with other content", row.job)
        case SignalsFull(limit=limit):
            raise SignalsAreFull(
                f"{limit} messages to job {row.job} are pending, which is the limit (signals_pending_max)"
            )
        case _:
            return result
