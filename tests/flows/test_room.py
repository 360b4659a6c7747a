import resource
import subprocess
import sys
from pathlib import Path

import pytest

from flows.room import DATABASES, home_of_a_run, require_room
from lori_core.errors import BadInput


def refused(home: Path, *, late: bool = False) -> None:
    with home_of_a_run(home) as accepted:
        (home / "logs").mkdir()
        if late:
            accepted()
        raise BadInput("wrong", "right")


def test_a_home_that_a_refused_run_made_is_gone_again(tmp_path: Path) -> None:
    home = tmp_path / "home"
    with pytest.raises(BadInput, match="wrong"):
        refused(home)
    assert not home.exists()


def test_a_home_that_was_there_before_stays(tmp_path: Path) -> None:
    kept = tmp_path / "kept"
    kept.write_text("x")
    with pytest.raises(BadInput, match="wrong"):
        refused(tmp_path)
    assert kept.exists()


def test_what_was_learned_stays_when_a_run_is_refused_later(tmp_path: Path) -> None:
    home = tmp_path / "home"
    with pytest.raises(BadInput, match="wrong"):
        refused(home, late=True)
    assert home.exists()


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
    with pytest.raises(BadInput, match="Not a directory"), home_of_a_run(tmp_path / beneath):
        pass
