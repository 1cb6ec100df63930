"""From a question to places, on an index small enough to see why."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator

import pytest

from examples.chat.jobs import index_file, search
from examples.chat.jobs.interface import Place


@pytest.fixture
def connection() -> Iterator[sqlite3.Connection]:
    """An empty index in memory."""
    opened = sqlite3.connect(":memory:", isolation_level=None)
    index_file.create(opened)
    yield opened
    opened.close()


def place(name: str, doc: str, kind: str = "function", **more: str) -> Place:
    return Place(name, (), kind, more.get("signature", f"{name}()"), doc, "file.py", 1)


def found(connection: sqlite3.Connection, question: str) -> list[str]:
    return [hit.name for hit in search.search(connection, question)]


def test_the_words_of_a_question_are_those_that_say_something() -> None:
    assert search.terms("How do I open a MemoryChannel, and what's a time-out?") == [
        "open", "memory", "channel", "time-out",
    ]  # fmt: skip
    assert search.terms("run_sync at the same time") == ["run", "sync", "concurrently"]
    assert search.terms("what is it?") == []
    assert search.terms("'; DROP TABLE places; -- \"") == ["drop", "table", "places"]
    assert len(search.terms(" ".join(f"word{n}" for n in range(100)))) == search.MAX_WORDS


def test_a_word_is_looked_for_in_its_other_forms() -> None:
    assert search.alternatives("time-outs") == ("time outs", "timeouts", "deadline")
    assert search.alternatives("dictionary") == ("dictionary", "dict", "mapping")
    assert search.alternatives("window") == ("window",)


def test_identifiers_are_found_by_their_words(connection: sqlite3.Connection) -> None:
    places = [
        place("lib.open_memory_channel", "Between tasks."),
        place("lib.TimestampSigner", "For a while.", "class"),
        place("lib.HTTPServer", "Serves.", "class"),
    ]
    index_file.add(connection, "lib", "1", places, {})
    assert found(connection, "memory channels") == ["lib.open_memory_channel"]
    assert found(connection, "signing") == []
    assert found(connection, "a signer with a timestamp") == ["lib.TimestampSigner"]
    assert found(connection, "a HTTP server") == ["lib.HTTPServer"]


def test_a_place_with_all_the_words_beats_one_with_a_rare_one(connection: sqlite3.Connection) -> None:
    others = [place(f"lib.other{n}", "Close the window.") for n in range(20)]
    rare = place("lib.paint", "Paint paint paint paint.")
    index_file.add(connection, "lib", "1", [*others, rare, place("lib.both", "Paint a window.")], {})
    assert found(connection, "paint the window")[0] == "lib.both"


def test_the_package_that_a_question_names_comes_first(connection: sqlite3.Connection) -> None:
    for name in ("first", "second"):
        index_file.add(connection, name, "1", [place(f"{name}.sleep", f"Sleep, says {name}.")], {})
    assert found(connection, "sleep in second")[0] == "second.sleep"


def test_what_others_speak_of_comes_before_what_they_do_not(connection: sqlite3.Connection) -> None:
    places = [place("lib.a.rest", "Rest a bit."), place("lib.b.rest", "Rest a while.")]
    index_file.add(connection, "lib", "1", places, {"lib.b.rest": 40, "lib.nothing": 9})
    index_file.finish(connection)
    assert found(connection, "rest") == ["lib.b.rest", "lib.a.rest"]


def test_one_text_under_two_names_is_told_once(connection: sqlite3.Connection) -> None:
    places = [place("lib.Client.get", "Get a page."), place("lib.AsyncClient.get", "Get a page.")]
    index_file.add(connection, "lib", "1", places, {})
    assert len(found(connection, "get a page")) == 1


def test_a_package_is_put_in_once(connection: sqlite3.Connection) -> None:
    places = [place("lib.a", "A."), place("lib.b", "B.")]
    assert index_file.add(connection, "lib", "1", places, {}) == 2
    assert index_file.add(connection, "lib", "1", places, {}) == 2
    assert connection.execute("SELECT count(*) FROM places").fetchone() == (2,)


def test_a_package_that_fails_leaves_nothing(connection: sqlite3.Connection) -> None:
    broken = [place("lib.a", "A."), Place("lib.b", (), "function", "b()", "B.", "b.py", None)]  # type: ignore[arg-type]
    with pytest.raises(sqlite3.IntegrityError):
        index_file.add(connection, "lib", "1", broken, {})
    assert connection.execute("SELECT count(*) FROM places").fetchone() == (0,)
    assert not index_file.has(connection, "lib")


@pytest.mark.parametrize(
    "question", ['"', "NEAR(a b)", "a* AND -b", "name:open", "^x", "ünïcode", "日本語", "\ud83d"]
)
def test_no_question_is_an_error(connection: sqlite3.Connection, question: str) -> None:
    index_file.add(connection, "lib", "1", [place("lib.a", "A.")], {})
    assert found(connection, question) == []


def test_an_accepted_name_counts_with_all_below_it() -> None:
    def hit(name: str, *aliases: str) -> search.Hit:
        return search.Hit(name, "lib", "class", "", "", "f.py", 1, 1.0, aliases)

    assert search.accepted(hit("lib.Thing"), ["lib.Thing"])
    assert search.accepted(hit("lib.Thing.turn"), ["lib.Thing"])
    assert search.accepted(hit("lib.core.Thing", "lib.Thing"), ["lib.Thing"])
    assert not search.accepted(hit("lib.Things"), ["lib.Thing"])
