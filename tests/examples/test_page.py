"""The transcript of a job equals its output, whatever happened in between."""

from __future__ import annotations

from pathlib import Path

from examples.chat.jobs.page import Page


class Writer:
    """The part of a context that a page needs."""

    job_id = "j1"

    def __init__(self) -> None:
        self.text = ""

    async def write(self, text: str) -> None:
        self.text += text


async def test_what_came_after_the_savepoint_is_cut_off_and_written_again(tmp_path: Path) -> None:
    folder = tmp_path / "made" / "by it"
    first = Page(Writer(), folder=folder)
    await first.begin()
    await first.write("zwölf ")
    saved = first.written
    await first.write("lost in the crash")
    writer = Writer()
    second = Page(writer, written=saved, folder=folder)
    await second.begin()
    await second.write("Boxkämpfer")
    assert (folder / "j1.md").read_text(encoding="utf-8") == "zwölf Boxkämpfer"
    assert writer.text == "Boxkämpfer"
    assert second.written == len("zwölf Boxkämpfer".encode())


async def test_a_first_attempt_begins_with_an_empty_transcript(tmp_path: Path) -> None:
    (tmp_path / "j1.md").write_text("of another database")
    page = Page(Writer(), folder=tmp_path)
    await page.begin()
    assert (tmp_path / "j1.md").read_text() == ""


async def test_without_its_beginning_there_is_no_transcript(tmp_path: Path) -> None:
    writer = Writer()
    page = Page(writer, written=100, folder=tmp_path)
    await page.begin()
    await page.write("the rest")
    assert (tmp_path / "j1.md").read_text() == ""
    assert writer.text == "the rest"


async def test_without_a_folder_nothing_is_kept() -> None:
    page = Page(Writer())
    await page.begin()
    await page.write("text")
    assert page.written == 4
