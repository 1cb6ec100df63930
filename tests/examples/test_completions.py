"""The client of the OpenAI protocol against a server that speaks it, and one that does not."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
import trio

from examples.chat.jobs import completions as completions_module
from examples.chat.jobs.completions import Endpoint, Refused, Unavailable, open_completions, retry_after
from tests.examples.fake_openai import Answers, FakeOpenAI, Says, Script, Sends, Stalls, chunk, fake_openai

NOON = datetime(2030, 1, 1, 12, 0, 0, tzinfo=UTC)
QUESTION = [{"role": "user", "content": "Hi"}]


async def completed(server: FakeOpenAI, *, read_timeout_s: float = 10.0, key: str | None = None) -> str:
    """One completion, as text."""
    endpoint = Endpoint(base_url=server.base_url, api_key=key, model="m", read_timeout_s=read_timeout_s)
    pieces: list[str] = []

    async def on_text(piece: str) -> None:
        await trio.lowlevel.checkpoint()
        pieces.append(piece)

    async with open_completions(endpoint, lambda: NOON) as completions:
        await completions.complete("m", QUESTION, on_text)
    return "".join(pieces)


async def failure(*script: Script, read_timeout_s: float = 10.0) -> Refused | Unavailable:
    """How a completion fails."""
    async with fake_openai(*script) as server:
        try:
            text = await completed(server, read_timeout_s=read_timeout_s)
        except (Refused, Unavailable) as error:
            return error
    pytest.fail(f"it did not fail but said {text!r}")


async def test_a_completion_comes_in_pieces_and_is_asked_for_as_the_protocol_has_it() -> None:
    async with fake_openai(Says(("Hel", "lo ", "wörld"))) as server:
        assert await completed(server, key="secret") == "Hello wörld"
    assert server.asked == [{"model": "m", "messages": QUESTION, "stream": True}]
    assert server.headers[0]["authorization"] == "Bearer secret"


async def test_without_a_key_none_is_sent() -> None:
    async with fake_openai(Says(("x",))) as server:
        await completed(server)
    assert "authorization" not in server.headers[0]


async def test_the_model_is_the_first_that_is_listed_unless_one_is_set() -> None:
    async with fake_openai() as server:
        async with open_completions(Endpoint(base_url=server.base_url + "/")) as completions:
            assert await completions.model() == "small-1"
        async with open_completions(Endpoint(base_url=server.base_url, model="mine")) as completions:
            assert await completions.model() == "mine"


@pytest.mark.parametrize("body", ["[]", '{"data": []}', "<html>"])
async def test_an_endpoint_without_models_says_what_to_set(body: str) -> None:
    async with fake_openai() as server:
        server.models = Answers(200, body)
        async with open_completions(Endpoint(base_url=server.base_url)) as completions:
            with pytest.raises(Refused, match="set OPENAI_MODEL"):
                await completions.model()


async def test_what_tells_the_usage_and_what_is_empty_is_no_text() -> None:
    usage = '{"choices": [], "usage": {"total_tokens": 3}}'
    empty = '{"choices": [{"delta": {"role": "assistant", "content": null}}]}'
    async with fake_openai(Sends((empty, chunk("a"), chunk(finish="stop"), usage))) as server:
        assert await completed(server) == "a"


async def test_an_answer_that_was_limited_says_so() -> None:
    async with fake_openai(Says(("a",), finish="length"), Says(("b",), finish="content_filter")) as server:
        assert await completed(server) == "a\n\n*(The model stopped here: it may not say more at once.)*"
        assert "its filter objected" in await completed(server)


@pytest.mark.parametrize("status", [408, 429, 500, 502, 503])
async def test_what_may_go_away_by_itself_can_be_asked_again(status: int) -> None:
    body = '{"error": {"message": "too much going on"}}'
    error = await failure(Answers(status, body, (("Retry-After", "7"),)))
    assert isinstance(error, Unavailable)
    assert error.after == 7
    assert "too much going on" in str(error)
    assert str(status) in str(error)


@pytest.mark.parametrize("status", [400, 401, 403, 404, 422])
async def test_any_other_4xx_is_refused_with_the_message_of_the_server(status: int) -> None:
    error = await failure(Answers(status, '{"error": {"message": "no such model: m", "type": "x"}}'))
    assert isinstance(error, Refused)
    assert str(error).endswith("no such model: m")
    assert str(status) in str(error)


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ('{"error": "flat"}', "flat"),
        ("<html>nothing\n here</html>", "<html>nothing here</html>"),
        ("", "no message"),
        ("x" * 100_000, "xxx…"),
    ],
)
async def test_a_message_is_found_in_any_body(body: str, message: str) -> None:
    assert str(await failure(Answers(400, body))).endswith(message)


async def test_a_used_up_quota_does_not_come_back_by_waiting() -> None:
    body = '{"error": {"message": "pay first", "code": "insufficient_quota"}}'
    assert isinstance(await failure(Answers(429, body)), Refused)


async def test_a_stall_is_noticed() -> None:
    error = await failure(Stalls(("a",)), read_timeout_s=0.05)
    assert isinstance(error, Unavailable)
    assert "was silent for 0.05 s" in str(error)


@pytest.mark.parametrize(
    "script", [Sends((chunk("a"),), cut=True), Sends((chunk("a"),)), Sends((), cut=True)]
)
async def test_a_stream_that_was_cut_is_no_completion(script: Sends) -> None:
    error = await failure(script)
    assert isinstance(error, Unavailable)


async def test_no_server_at_all_can_be_asked_again() -> None:
    async with fake_openai() as server:
        pass
    with pytest.raises(Unavailable, match="cannot be reached"):
        await completed(server)


@pytest.mark.parametrize(
    "event", ["not json", "[]", "{}", '{"choices": 7}', '{"choices": [{"delta": {"content": 7}}]}', "null"]
)
async def test_a_malformed_stream_is_refused_and_shown(event: str) -> None:
    error = await failure(Sends((chunk("a"), event)))
    assert isinstance(error, Refused)
    assert "sent what is no completion" in str(error)
    assert event in str(error)


async def test_an_answer_that_is_no_stream_is_refused() -> None:
    error = await failure(Answers(200, "<html>hello</html>", (("Content-Type", "text/html"),)))
    assert isinstance(error, Refused)
    assert "does not stream" in str(error)


@pytest.mark.parametrize(
    ("code", "kind"), [("null", Unavailable), ("500", Unavailable), ("429", Unavailable), ("400", Refused)]
)
async def test_an_error_in_mid_stream_is_what_its_code_says(code: str, kind: type[Exception]) -> None:
    event = '{"error": {"message": "out of memory", "code": ' + code + "}}"
    error = await failure(Sends((chunk("a"), event)))
    assert type(error) is kind
    assert "out of memory" in str(error)


async def test_half_a_surrogate_pair_becomes_a_question_mark() -> None:
    async with fake_openai(Sends((r'{"choices": [{"delta": {"content": "a\ud83d"}}]}', "[DONE]"))) as server:
        assert await completed(server) == "a?"


@pytest.mark.parametrize(
    "address", ["http://host:port", "localhost:8000/v1", "ftp://host/v1", "http://", "x"]
)
async def test_an_address_that_is_none_is_refused(address: str) -> None:
    with pytest.raises(Refused, match=r"OPENAI_BASE_URL=.* legal is http"):
        async with open_completions(Endpoint(base_url=address)):
            pass


async def test_what_takes_the_text_may_fail_and_the_connection_is_dropped() -> None:
    async def on_text(piece: str) -> None:
        raise RuntimeError(f"no room for {piece}")

    async with (
        fake_openai(Stalls(("a", "b"))) as server,
        open_completions(Endpoint(base_url=server.base_url)) as completions,
    ):
        with pytest.raises(RuntimeError, match="no room for a"):
            await completions.complete("m", QUESTION, on_text)


async def test_an_answer_without_end_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(completions_module, "MAX_ANSWER", 100)
    assert "more than 100 characters" in str(await failure(Says(("x" * 60, "x" * 60))))


async def test_a_server_that_does_not_hang_up_after_the_end_is_not_waited_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(completions_module, "DRAIN_S", 0.01)
    async with fake_openai(Stalls(("a",), ended=True)) as server:
        assert await completed(server) == "a"


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        (None, None),
        ("0", 0),
        ("120", 120),
        (" 5 ", 5),
        ("-3", 0),
        ("Tue, 01 Jan 2030 12:00:30 GMT", 30),
        ("Tue, 01 Jan 2030 12:00:30 -0000", 30),
        ("Mon, 31 Dec 2029 12:00:00 GMT", 0),
        ("soon", None),
        ("", None),
    ],
)
def test_retry_after_is_a_number_or_a_date(header: str | None, seconds: float | None) -> None:
    assert retry_after(header, NOON) == seconds


def test_an_endpoint_does_not_show_its_key() -> None:
    assert "secret" not in repr(Endpoint(base_url="http://x", api_key="secret"))
