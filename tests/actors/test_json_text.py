"""What an application gives reads back as the same value, or is refused."""

from __future__ import annotations

import dataclasses
import math

import orjson
import pytest

import trouper
from trouper.actors.json_text import encode_json


@dataclasses.dataclass
class Score:
    best: float | None


@trouper.job
async def scores(ctx: trouper.JobContext, *, best: float | None) -> None: ...


@pytest.mark.clause("E1")
@pytest.mark.parametrize("number", [math.nan, math.inf, -math.inf])
def test_what_would_read_back_as_null_is_refused_wherever_it_stands(number: float) -> None:
    for value in (number, [None, [number]], {"a": (1, number)}, Score(number), [{"a": Score(number)}]):
        with pytest.raises(TypeError, match="NaN and infinities have no JSON: legal are finite numbers"):
            encode_json(value)
    with pytest.raises(trouper.BadArguments, match="'scores' are not JSON: NaN"):
        scores.call(best=number)


def test_a_null_and_the_word_in_a_text_are_what_they_were() -> None:
    for value in (None, [None, 1.5], {"null": "null"}, Score(None)):
        assert encode_json(value) == orjson.dumps(value)
    assert scores.call(best=None).arguments == '{"best":null}'
