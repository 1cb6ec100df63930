"""The job *review*: it asks before its long part, and what it is told meanwhile changes the rest."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import trio
from trio.testing import MockClock

import trouper
from examples.chat.jobs.report import report_job
from examples.chat.jobs.review import FACTS, QUESTIONS, TIMES, review_job
from tests.examples.known_environment import KnownEnvironment, files
from tests.supervisor.support import waiting
from trouper.store.records import JobState
from trouper.testing import JobResult, run_job

ALL = {"most": 4, "depth": TIMES}


async def reviewed(
    *answers: dict[str, Any], folder: Path | None = None, crash_at: int | None = None
) -> JobResult:
    """A whole review over known packages, with these answers one after the other."""
    keys = {f"choice.{number}": answer for number, answer in enumerate(answers, 1)}
    job = review_job(KnownEnvironment(), folder, now=lambda: 0.0)
    return await run_job(job, answers=keys, crash_at=crash_at)


def headings(text: str) -> list[str]:
    return [line.split()[1] for line in text.splitlines() if line.startswith("## ")]


@pytest.mark.parametrize(
    ("answer", "packages", "said"),
    [
        ({**ALL, "name": "ALPHA "}, ["alpha"], "As chosen: 1 package whose name holds `ALPHA`."),
        (
            {"most": 2, "depth": TIMES, "name": ""},
            ["alpha", "beta"],
            "As chosen: 2 packages, of 4 that there",
        ),
        ({**ALL, "name": "ta", "most": 1}, ["beta"], "As chosen: 1 package, of 2 whose name holds `ta`."),
        (ALL, ["alpha", "beta", "delta", "gamma"], "As chosen: 4 packages that there are."),
    ],
)
async def test_the_packages_that_were_chosen_are_audited_and_no_others(
    answer: dict[str, Any], packages: list[str], said: str
) -> None:
    result = await reviewed(answer)
    assert (result.state, result.attempts) == (JobState.COMPLETED, 2)
    assert headings(result.text) == [*packages, "Summary"]
    assert said in result.text
    question = "Which packages, and how closely?"
    told = {"key": "choice.1", "question": question, "answer": answer}
    assert result.events == [("answered", told)]
    assert result.result["packages"] == len(packages)


async def test_a_review_of_facts_only_imports_nothing_and_may_do_without_a_summary() -> None:
    result = await reviewed({"most": 4, "depth": FACTS, "summary": False})
    assert "Nothing is imported." in result.text
    assert "- import" not in result.text
    assert headings(result.text) == ["alpha", "beta", "delta", "gamma"]
    assert (result.result["imported"], result.result["failed_imports"]) == (0, 0)


async def test_what_is_installed_but_was_not_chosen_is_not_called_missing() -> None:
    result = await reviewed({**ALL, "name": "alpha"})
    assert "- requires: beta, omega (not installed)\n" in result.text


async def test_an_answer_that_fits_no_package_is_asked_for_again() -> None:
    result = await reviewed({**ALL, "name": "no such"}, {**ALL, "name": "beta"})
    assert (headings(result.text), result.attempts) == (["beta", "Summary"], 3)
    titles = [title for title, _ in result.notifications]
    assert titles[:2] == [
        "Which packages, and how closely?",
        "No package has “no such” in its name. Which packages, and how closely?",
    ]


async def test_after_five_answers_that_fit_nothing_it_gives_up() -> None:
    result = await reviewed(*[{**ALL, "name": "no such"}] * QUESTIONS)
    assert (result.state, result.error) == (
        JobState.FAILED,
        "none of 5 answers fits a package that is installed here",
    )


@pytest.mark.parametrize(
    ("answer", "fault"),
    [
        ({"most": 0, "depth": FACTS}, "the answer.most is 0; legal are numbers from 1 up to 4"),
        ({"most": 1.5, "depth": FACTS}, "the answer.most is 1.5; legal is an integer"),
        ({"most": 1}, "the answer has no 'depth'"),
        ({"most": 1, "depth": "deeply"}, 'the answer.depth is "deeply"; legal are "facts only", "with'),
        ({**ALL, "name": "x" * 101}, "the answer.name has the length 101"),
    ],
)
async def test_an_answer_that_its_schema_does_not_allow_is_refused(
    answer: dict[str, Any], fault: str
) -> None:
    with pytest.raises(trouper.BadArguments) as refused:
        await reviewed(answer)
    assert str(refused.value).startswith(fault)


@pytest.mark.parametrize("crash_at", [1, 2, 3])
async def test_a_crash_before_the_answer_asks_no_second_time(crash_at: int, tmp_path: Path) -> None:
    undisturbed = await reviewed({**ALL, "most": 2})
    result = await reviewed({**ALL, "most": 2}, folder=tmp_path, crash_at=crash_at)
    assert (result.attempts, result.text) == (3, undisturbed.text)
    assert sum(title.startswith("Which") for title, _ in result.notifications) == 1
    (transcript,) = files(tmp_path)
    assert transcript.read_bytes() == result.text.encode()


def seams() -> trouper.Seams:
    return trouper.Seams(wall=lambda: 1_000_000.0 + trio.current_time())


@pytest.mark.clause("J8")
async def test_while_it_waits_another_job_has_its_place_and_its_form_is_in_its_order(
    autojump_clock: MockClock,
) -> None:
    environment = KnownEnvironment()
    options = trouper.RuntimeOptions(max_running=1)
    jobs = [review_job(environment), report_job(environment)]
    async with trouper.open_runtime("memory:", jobs=jobs, options=options, seams=seams()) as runtime:
        waits = await runtime.submit(jobs[0].call(), user="ada")
        question = await waiting(runtime, waits.id)
        assert list(question["schema"]["properties"]) == ["name", "most", "depth", "summary"]
        assert question["expires_at"] - question["asked_at"] == 900
        other = await runtime.submit(jobs[1].call(), user="ada")
        assert (await runtime.wait(other.id)).state is JobState.COMPLETED
        assert await runtime.answer(waits.id, question["key"], ALL) is trouper.AnswerOutcome.ACCEPTED
        assert (await runtime.wait(waits.id)).state is JobState.COMPLETED


@pytest.mark.clause("J8")
async def test_nobody_answers_and_it_goes_on_with_all_packages_in_brief(autojump_clock: MockClock) -> None:
    job = review_job(KnownEnvironment(), patience_s=60)
    async with trouper.open_runtime("memory:", jobs=[job], seams=seams()) as runtime:
        waits = await runtime.submit(job.call(), user="ada")
        ended = await runtime.wait(waits.id)
        assert trio.current_time() > 59
        text = await runtime.text(waits.id)
        events = [item async for item in runtime.read(waits.id) if isinstance(item, trouper.Event)]
    assert (ended.state, ended.attempt) == (JobState.COMPLETED, 2)
    assert "Nobody chose in time: all of 4 packages, in brief.\n" in text
    assert [(event.name, event.data["key"], event.data["answer"]) for event in events] == [
        ("answered", "choice.1", None)
    ]


async def steered(messages: dict[str, list[Any]], crash_at: str = "") -> tuple[str, list[Any]]:
    """The text of a report to which these messages came while it audited the packages named, and what it
    told of them. It crashes at its first audit of ``crash_at``."""
    crashed: list[str] = []

    async def meanwhile(name: str) -> None:
        if name == crash_at and not crashed:
            crashed.append(name)
            raise RuntimeError("told to")
        for number, message in enumerate(messages.get(name, [])):
            sent = await runtime.signal(submitted.id, message, id=f"{name} {number}", user="ada")
            assert sent is trouper.SignalAnswer.ACCEPTED

    job = report_job(KnownEnvironment(meanwhile), now=lambda: 0.0)
    async with trouper.open_runtime(
        "memory:", jobs=[job], seams=seams(), on_report=lambda _: None
    ) as runtime:
        submitted = await runtime.submit(job.call(), user="ada")
        ended = await runtime.wait(submitted.id)
        assert (ended.state, ended.attempt) == (JobState.COMPLETED, 1 + len(crashed))
        items = [item async for item in runtime.read(submitted.id)]
        told = [item.data for item in items if isinstance(item, trouper.Event)]
        return await runtime.text(submitted.id), told


@pytest.mark.clause("J7")
async def test_a_report_does_what_it_is_told_from_the_next_package_on(autojump_clock: MockClock) -> None:
    said: dict[str, list[Any]] = {
        "alpha": [{"text": " shorter, \n please"}],
        "beta": ["in full again", {"x": 1}],
    }
    text, told = await steered(said)
    assert told == [
        {"id": "alpha 0", "text": "shorter, please", "reply": "from here on without import times"},
        {"id": "beta 0", "text": "in full again", "reply": "from here on with import times"},
        {"id": "beta 1", "text": "", "reply": "I understand: shorter, in full, skip NAME, NAME next, enough"},
    ]
    assert "> **ada**: shorter, please\n>\n> *from here on without import times*\n\n## beta" in text
    alpha, beta, delta = (text.split("\n## ")[n] for n in (1, 2, 3))
    assert ("- import" in alpha, "- import" in beta, "- import" in delta) == (True, False, True)


@pytest.mark.clause("J7")
async def test_what_was_said_before_a_crash_is_done_and_told_once(autojump_clock: MockClock) -> None:
    said = {"alpha": ["gamma next"], "gamma": ["skip delta, nothing"]}
    undisturbed = await steered(said)
    assert headings(undisturbed[0]) == ["alpha", "gamma", "beta", "Summary"]
    assert [each["reply"] for each in undisturbed[1]] == ["gamma is next", "left out delta"]
    for name in ("gamma", "beta"):
        assert await steered(said, crash_at=name) == undisturbed


@pytest.mark.clause("J7")
async def test_enough_ends_the_report_with_its_summary(autojump_clock: MockClock) -> None:
    text, told = await steered({"beta": ["that is ENOUGH, thanks"]})
    assert headings(text) == ["alpha", "beta", "Summary"]
    assert told[0]["reply"] == "left out the 2 that were still to come"
    text, told = await steered({"gamma": ["enough", "skip alpha", "alpha next"]})
    assert [each["reply"] for each in told] == [
        "that was the last one anyway",
        "none of these is still to come",
        "alpha is not among those still to come",
    ]


async def test_what_people_say_cannot_become_markup(autojump_clock: MockClock) -> None:
    text, told = await steered({"alpha": ["<b>*hi*</b>\n\n# no heading " + "x" * 10_000]})
    assert "> **ada**: \\<b\\>\\*hi\\*\\</b\\> \\# no heading xx" in text
    assert len(told[0]["text"]) == 500
