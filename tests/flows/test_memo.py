import os
from pathlib import Path

from flows.memo import remembered


def test_an_answer_is_asked_for_once_and_again_only_when_a_file_was_touched(tmp_path: Path) -> None:
    file = tmp_path / "rows"
    file.write_text("a")
    asked = []

    def ask() -> dict[str, str]:
        asked.append(file.read_text())
        return {"digest": file.read_text()}

    def answer(question: str = "q") -> dict[str, str]:
        return remembered(tmp_path, "data", question, [file], ask)

    assert answer() == answer() == {"digest": "a"}
    assert asked == ["a"]
    os.utime(file, ns=(1, 1))
    answer()
    assert asked == ["a", "a"]
    file.write_text("b")
    assert answer() == {"digest": "b"}
    answer("another question")
    assert asked == ["a", "a", "b", "b"]


def test_nothing_is_written_where_there_is_no_home_yet(tmp_path: Path) -> None:
    file = tmp_path / "rows"
    file.write_text("a")
    home = tmp_path / "home"
    assert remembered(home, "data", "q", [file], lambda: {"x": "y"}) == {"x": "y"}
    assert not home.exists()


def test_a_torn_memo_is_no_memo(tmp_path: Path) -> None:
    file = tmp_path / "rows"
    file.write_text("a")
    remembered(tmp_path, "data", "q", [file], lambda: {"x": "old"})
    (memo,) = (tmp_path / "memo").iterdir()
    memo.write_text(memo.read_text()[:20])
    assert remembered(tmp_path, "data", "q", [file], lambda: {"x": "new"}) == {"x": "new"}
