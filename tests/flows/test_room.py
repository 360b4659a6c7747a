import resource
import subprocess
import sys
from pathlib import Path

import pytest

from flows.room import DATABASES, FullDiskTold, HomeOfARun, require_room
from lori_core.errors import BadInput


def listing(folder: Path) -> set[Path]:
    return set(folder.rglob("*"))


def refused(home: Path, error: BaseException, *, late: bool = False) -> None:
    """A run that is refused after it left what a run leaves while it is looked at."""
    with HomeOfARun(home) as place:
        place.prepare()
        for name in ("logs/stages.log", "runs/s.lock", "memo/data-1.json", "prefect/prefect.db"):
            path = home / name
            path.parent.mkdir(exist_ok=True)
            path.write_text("x")
        if late:
            place.accept()
        raise error


REFUSED = BadInput("wrong", "right")


@pytest.mark.parametrize("error", [REFUSED, KeyboardInterrupt(), SystemExit(143), OSError(28, "")])
def test_a_home_that_a_refused_run_made_is_gone_again_with_its_parents(
    tmp_path: Path, error: BaseException
) -> None:
    with pytest.raises(type(error)):
        refused(tmp_path / "a" / "home", error)
    assert listing(tmp_path) == set()


def test_a_home_that_was_there_before_is_as_it_was(tmp_path: Path) -> None:
    for name in ("kept", "logs/old.log", "runs/other.lock"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("x")
    before = listing(tmp_path)
    with pytest.raises(BadInput, match="wrong"):
        refused(tmp_path, REFUSED)
    assert listing(tmp_path) == before


def test_what_was_learned_stays_when_a_run_is_refused_later(tmp_path: Path) -> None:
    home = tmp_path / "home"
    with pytest.raises(BadInput, match="wrong"):
        refused(home, REFUSED, late=True)
    assert (home / "logs" / "stages.log").exists()


def test_a_bug_keeps_its_log(tmp_path: Path) -> None:
    home = tmp_path / "home"
    with pytest.raises(RuntimeError):
        refused(home, RuntimeError("bug"))
    assert (home / "logs" / "stages.log").exists()


def test_a_refused_run_takes_nothing_from_another_one(tmp_path: Path) -> None:
    home = tmp_path / "home"
    with HomeOfARun(home) as place:
        place.prepare()
        with pytest.raises(BadInput, match="wrong"):
            refused(home, REFUSED)
        assert (home / "prefect" / "prefect.db").exists()


def test_a_home_that_is_not_prepared_is_not_made(tmp_path: Path) -> None:
    with HomeOfARun(tmp_path / "home"):
        pass
    assert not (tmp_path / "home").exists()


def test_more_room_than_there_is_is_refused_with_both_figures(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"MiB free on its disk: expected room for about \d+ MiB"):
        require_room(tmp_path, entries=10**15)


LIMITED = """
import resource, sys
from pathlib import Path
from flows.room import require_room
resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, resource.RLIM_INFINITY))
require_room(Path(sys.argv[1]))
"""


def test_a_limit_on_file_sizes_is_seen_before_anything_is_written(tmp_path: Path) -> None:
    answer = subprocess.run(
        [sys.executable, "-c", LIMITED, str(tmp_path)], capture_output=True, text=True, check=False
    )
    assert "files are limited to 1 MiB" in answer.stderr
    assert DATABASES > 1 << 20
    assert resource.getrlimit(resource.RLIMIT_FSIZE)[0] == resource.RLIM_INFINITY


@pytest.mark.parametrize("beneath", ["file/home", "file/a/b"])
def test_a_home_beneath_a_file_is_refused(tmp_path: Path, beneath: str) -> None:
    (tmp_path / "file").write_text("x")
    place = HomeOfARun(tmp_path / beneath)
    with pytest.raises(BadInput, match="Not a directory"), place:
        place.prepare()


FULL_IN_MID_RUN = """
import resource, sys
from pathlib import Path
from flows.room import FullDiskTold
with FullDiskTold(Path(sys.argv[1])):
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, resource.RLIM_INFINITY))
    raise RuntimeError("a library's own words")
"""


def test_a_librarys_error_is_told_as_the_full_disk_it_was(tmp_path: Path) -> None:
    command = [sys.executable, "-c", FULL_IN_MID_RUN, str(tmp_path)]
    answer = subprocess.run(command, capture_output=True, text=True, check=False)
    last = answer.stderr.splitlines()[-1]
    assert last.startswith("lori_core.errors.BadInput:")
    assert "files are limited" in last
    assert listing(tmp_path) == set()


def test_a_librarys_error_stays_what_it_was_where_there_is_room(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError), FullDiskTold(tmp_path):
        raise RuntimeError("a bug")
