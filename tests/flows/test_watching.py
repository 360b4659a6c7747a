from datetime import UTC, datetime
from pathlib import Path

from flows.watching import Drops, move_away
from registry.arrival_records import Watch


def watch(folder: Path) -> Watch:
    now = datetime.now(UTC)
    return Watch(id=1, folder=str(folder), priority=0, submitted_by="tests", created=now)


def names(drops: Drops, folder: Path) -> list[str]:
    return [path.name for _, path in drops.at_rest((watch(folder),))]


def test_a_file_counts_as_dropped_once_it_rests_for_a_look(tmp_path: Path) -> None:
    drops = Drops()
    (tmp_path / "task.yaml").write_text("sequence:")
    assert names(drops, tmp_path) == []
    (tmp_path / "task.yaml").write_text("sequence: s")
    assert names(drops, tmp_path) == []
    assert names(drops, tmp_path) == ["task.yaml"]


def test_what_is_no_settings_file_stays_where_it_is(tmp_path: Path) -> None:
    (tmp_path / "rows.jsonl").write_text("{}")
    (tmp_path / ".task.yaml.part").write_text("")
    (tmp_path / ".hidden.yaml").write_text("")
    (tmp_path / "folder.yaml").mkdir()
    (tmp_path / "link.yaml").symlink_to(tmp_path / "rows.jsonl")
    drops = Drops()
    assert names(drops, tmp_path) == names(drops, tmp_path) == []


def test_a_folder_that_is_away_has_no_files(tmp_path: Path) -> None:
    drops = Drops()
    assert names(drops, tmp_path / "nowhere") == []


def test_files_are_moved_to_where_they_show_what_became_of_them(tmp_path: Path) -> None:
    for _ in range(2):
        (tmp_path / "task.yaml").write_text("sequence: s")
        move_away(tmp_path / "task.yaml", None)
    (tmp_path / "bad.yaml").write_text("sequence: s")
    move_away(tmp_path / "bad.yaml", "no task")
    assert sorted(path.name for path in (tmp_path / "accepted").iterdir()) == [
        "task-2.yaml",
        "task.yaml",
    ]
    assert (tmp_path / "refused" / "bad.yaml.why").read_text() == "no task\n"
    assert not list(tmp_path.glob("*.yaml"))
