"""What can be asked in the chat: ``jobs(environ)`` is what runs, ``menu(environ)`` what the page offers.

Reading order:

* ``page``         what a job writes, counted, with a transcript of its own
* ``report``       the job *report*; ``report_text`` its words, ``tally`` its sums, ``work`` its rest
* ``review``       the job *review*: a report that asks a person first
* ``index``        the job *index* and the index of places; ``index_file`` is what is in the file
* ``ask``          the job *ask*; ``search`` finds and orders the places
* ``model``        the job *model*; ``completions`` speaks the protocol
* ``surveyor``     asks programs about the installed packages; ``programs`` runs them
* ``survey``       is that program; ``audits``, ``packages``, ``interface`` and ``sources`` are its parts

Settings, as environment variables:

* ``TROUPER_CHAT_INDEX``        the folder of the index; by default in the user's cache folder
* ``TROUPER_CHAT_TRANSCRIPTS``  a folder where *report* and *review* keep ``<job id>.md``; by default none
* ``OPENAI_BASE_URL``           offers *model*; with ``OPENAI_API_KEY`` and ``OPENAI_MODEL``
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import trouper

TOLD = ["Shorter, please", "In full again", "Enough"]
"""What a report may be told; ``work`` has more."""


def jobs(environ: Mapping[str, str]) -> list[trouper.JobSpec[..., Any]]:
    """The jobs to open the runtime with.

    They share one index, so call this once for each runtime. Raises ``ImportError`` if a model is set up
    but what is needed to ask it is not installed; it names the extra; ``BadSetting`` if it is set up wrongly.
    """
    # Imported here: the survey's programs import this package too, and need none of it.
    from examples.chat.jobs.ask import ask_job
    from examples.chat.jobs.index import Index, index_job
    from examples.chat.jobs.report import report_job
    from examples.chat.jobs.review import review_job
    from examples.chat.jobs.surveyor import ThisEnvironment

    surveyor = ThisEnvironment()
    index = Index(index_folder(environ), surveyor)
    folder = environ.get("TROUPER_CHAT_TRANSCRIPTS")
    transcripts = Path(folder) if folder else None
    offered = [
        report_job(surveyor, transcripts),
        review_job(surveyor, transcripts),
        ask_job(index),
        index_job(index),
    ]
    if offers_model(environ):
        from examples.chat.jobs.model import endpoint_of, model_job

        if (endpoint := endpoint_of(environ)) is not None:
            offered.append(model_job(endpoint))
    return offered


def menu(environ: Mapping[str, str]) -> list[dict[str, Any]]:
    """What the page offers, in order; ``argument`` is the name of the one that the person types.

    ``told``: what a person may say to the job while it runs, as suggestions; None if it does not listen.
    """
    items: list[dict[str, Any]] = [
        {
            "name": "ask",
            "label": "Ask the packages",
            "hint": "Finds the places in the installed packages' docstrings that answer a question.",
            "argument": "question",
            "placeholder": "How do I run blocking code in a worker thread?",
            "told": None,
        },
        {
            "name": "report",
            "label": "Report",
            "hint": "Audits the packages installed here one by one: docstrings, import time, size, licence. "
            "One to three minutes of work.",
            "argument": None,
            "placeholder": None,
            "told": TOLD,
        },
        {
            "name": "review",
            "label": "Review",
            "hint": "A report on the packages that you choose: it asks first, and listens meanwhile.",
            "argument": None,
            "placeholder": None,
            "told": TOLD,
        },
        {
            "name": "index",
            "label": "Index",
            "hint": "Reads the docstrings of the packages installed here, for questions to come.",
            "argument": None,
            "placeholder": None,
            "told": None,
        },
    ]
    if offers_model(environ):
        model = {
            "name": "model",
            "label": environ.get("OPENAI_MODEL") or "Model",
            "hint": "Asks the language model. Earlier turns are not sent along.",
            "argument": "prompt",
            "placeholder": "Ask anything",
            "told": None,
        }
        items.insert(0, {**model})
    return items


def offers_model(environ: Mapping[str, str]) -> bool:
    """Whether a language model was set up."""
    return bool(environ.get("OPENAI_BASE_URL", "").strip())


def index_folder(environ: Mapping[str, str]) -> Path:
    """Where the index is kept."""
    if folder := environ.get("TROUPER_CHAT_INDEX"):
        return Path(folder)
    cache = environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(cache).expanduser() / "trouper-chat"
