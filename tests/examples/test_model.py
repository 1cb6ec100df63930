"""The job *model*: what is finished is not paid for twice, what may go away is asked again."""

from __future__ import annotations

import pytest

from examples.chat.jobs import jobs, menu
from examples.chat.jobs.completions import Endpoint
from examples.chat.jobs.model import endpoint_of, model_job
from examples.chat.settings import BadSetting
from tests.examples.fake_openai import Answers, FakeOpenAI, Says, Sends, Stalls, chunk, fake_openai
from trouper.store.records import JobState
from trouper.testing import JobResult, run_job

ANSWER = Says(("Water ", "is ", "wet."))
TITLE = Says(('"On ', 'water"\n'))


async def asked(
    server: FakeOpenAI, *, prompt: str = "What is water?", crash_at: int | None = None
) -> JobResult:
    endpoint = Endpoint(base_url=server.base_url, read_timeout_s=0.1)
    return await run_job(model_job(endpoint), prompt=prompt, crash_at=crash_at)


async def test_an_answer_is_streamed_and_then_given_a_title() -> None:
    async with fake_openai(ANSWER, TITLE) as server:
        result = await asked(server)
    assert result.state is JobState.COMPLETED
    assert result.text == "Water is wet."
    assert result.events == [("title", {"title": "On water"})]
    assert result.result == {"model": "small-1", "title": "On water"}
    assert server.asked[0]["messages"] == [{"role": "user", "content": "What is water?"}]
    assert server.asked[1]["messages"][:2] == [
        {"role": "user", "content": "What is water?"},
        {"role": "assistant", "content": "Water is wet."},
    ]


@pytest.mark.parametrize("crash_at", [1, 2, 3, 4, 5])
async def test_a_crash_before_the_answer_is_saved_asks_for_it_again(crash_at: int) -> None:
    async with fake_openai(*[ANSWER] * (2 if crash_at > 1 else 1), TITLE) as server:
        result = await asked(server, crash_at=crash_at)
    assert (result.text, result.attempts) == ("Water is wet.", 2)
    assert result.events == [("title", {"title": "On water"})]


@pytest.mark.parametrize("crash_at", [6, 7, 8])
async def test_an_answer_that_was_saved_is_not_paid_for_twice(crash_at: int) -> None:
    async with fake_openai(ANSWER, *[TITLE] * (2 if crash_at > 6 else 1)) as server:
        result = await asked(server, crash_at=crash_at)
    assert (result.text, result.attempts) == ("Water is wet.", 2)
    assert result.events == [("title", {"title": "On water"})]
    assert sum(len(asked["messages"]) == 1 for asked in server.asked) == 1


@pytest.mark.parametrize(
    "trouble",
    [
        Answers(500, "oh"),
        Answers(429, "slow down", (("Retry-After", "0"),)),
        Answers(408),
        Sends((chunk("Wat"),), cut=True),
        Stalls(("Water ",)),
    ],
)
async def test_trouble_that_may_pass_is_tried_again_and_the_page_rewound(
    trouble: Answers | Sends | Stalls,
) -> None:
    async with fake_openai(trouble, ANSWER, trouble, TITLE) as server:
        result = await asked(server)
    assert (result.state, result.attempts) == (JobState.COMPLETED, 3)
    assert result.text == "Water is wet."
    assert sum(len(asked["messages"]) == 1 for asked in server.asked) == 2


async def test_another_4xx_ends_the_job_at_once_with_the_message_of_the_server() -> None:
    async with fake_openai(Answers(401, '{"error": {"message": "wrong key"}}')) as server:
        result = await asked(server)
    assert (result.state, result.attempts) == (JobState.FAILED, 1)
    assert "401" in (result.error or "")
    assert "wrong key" in (result.error or "")


async def test_a_server_that_asks_to_wait_for_long_is_not_waited_for() -> None:
    async with fake_openai(Answers(429, "tomorrow", (("Retry-After", "86400"),))) as server:
        result = await asked(server)
    assert (result.state, result.attempts) == (JobState.FAILED, 1)
    assert "come back in 24.0 hours" in (result.error or "")


async def test_a_title_that_is_refused_leaves_the_answer_as_it_is() -> None:
    async with fake_openai(ANSWER, Answers(400, "no titles here")) as server:
        result = await asked(server)
    assert result.state is JobState.COMPLETED
    assert (result.text, result.events) == ("Water is wet.", [])
    assert result.result == {"model": "small-1", "title": ""}


async def test_a_model_that_says_nothing_is_said_to() -> None:
    async with fake_openai(Says(()), Says(())) as server:
        result = await asked(server)
    assert result.text == "*(The model had nothing to say.)*"


async def test_an_empty_prompt_fails_at_once() -> None:
    async with fake_openai() as server:
        result = await asked(server, prompt="  \n")
    assert (result.state, result.attempts) == (JobState.FAILED, 1)
    assert server.headers == []


def test_a_model_is_offered_only_where_one_is_set_up() -> None:
    assert [job.name for job in jobs({})] == ["report", "review", "ask", "index"]
    environ = {"OPENAI_BASE_URL": "http://127.0.0.1:9/v1", "OPENAI_MODEL": "m"}
    assert [job.name for job in jobs(environ)] == ["report", "review", "ask", "index", "model"]
    assert all(job.client and job.retry.attempts == 10 for job in jobs(environ))
    assert sorted(str(item["name"]) for item in menu({})) == ["ask", "index", "report", "review"]
    assert menu(environ)[0]["label"] == "m"


def test_the_endpoint_is_what_the_environment_says() -> None:
    assert endpoint_of({"OPENAI_BASE_URL": " "}) is None
    environ = {"OPENAI_BASE_URL": "http://h/v1", "OPENAI_API_KEY": "k", "OPENAI_MODEL": ""}
    assert endpoint_of(environ) == Endpoint(base_url="http://h/v1", api_key="k", model=None)


@pytest.mark.parametrize("url", ["localhost:8080/v1", "ftp://here/v1", "http:///v1", "http://here:x/v1"])
def test_an_endpoint_that_cannot_be_meant_is_refused_at_the_start_and_named(url: str) -> None:
    with pytest.raises(BadSetting, match=f"OPENAI_BASE_URL={url!r}: legal are http://… and https://…"):
        endpoint_of({"OPENAI_BASE_URL": url})
