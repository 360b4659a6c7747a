import multiprocessing
import os
import subprocess
import time
from pathlib import Path

import pytest

from lori_core.errors import BadInput
from registry.home import file_lock, find_home, prepare_home
from tests.forked import Fork


def test_a_named_home_wins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / ".lori").mkdir()
    monkeypatch.setenv("LORI_HOME", str(tmp_path / "elsewhere"))
    assert find_home(tmp_path) == tmp_path / "elsewhere"


def test_a_relative_named_home_is_made_absolute(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("LORI_HOME", "here")
    assert find_home() == tmp_path / "here"


def test_the_nearest_home_upward_is_found(tmp_path: Path) -> None:
    deep = tmp_path / "project" / "a" / "b"
    deep.mkdir(parents=True)
    (tmp_path / ".lori").mkdir()
    (tmp_path / "project" / ".lori").mkdir()
    assert find_home(deep) == tmp_path / "project" / ".lori"


def test_without_any_home_it_would_be_here_and_is_not_made(tmp_path: Path) -> None:
    assert find_home(tmp_path) == tmp_path / ".lori"
    assert not (tmp_path / ".lori").exists()


def test_a_home_that_we_make_is_its_users_alone(tmp_path: Path) -> None:
    home = prepare_home(tmp_path / "new" / ".lori")
    assert home.stat().st_mode & 0o777 == 0o700
    home.chmod(0o755)
    assert prepare_home(home).stat().st_mode & 0o777 == 0o755  # somebody's decision


def test_a_home_is_made_with_its_parents_and_left_clean(tmp_path: Path) -> None:
    home = prepare_home(tmp_path / "a" / "b")
    assert list(home.iterdir()) == []


def test_a_home_beneath_a_file_is_refused_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(BadInput, match="Not a directory") as refusal:
        prepare_home(tmp_path / "file" / ".lori")
    assert "\n" not in str(refusal.value)
    assert str(tmp_path / "file" / ".lori") in str(refusal.value)


def test_a_home_that_is_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / ".lori").write_text("")
    with pytest.raises(BadInput, match=r"File exists|Not a directory"):
        prepare_home(tmp_path / ".lori")


def test_a_read_only_home_is_refused(tmp_path: Path) -> None:
    home = tmp_path / "mounted"
    home.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "ro", "tmpfs", str(home)], capture_output=True, check=False
    )
    if mounted.returncode:
        pytest.skip("a read-only mount needs the right to mount")
    try:
        with pytest.raises(BadInput, match="Read-only file system"):
            prepare_home(home)
    finally:
        subprocess.run(["umount", str(home)], check=True)


def _hold(path: Path, held: "multiprocessing.synchronize.Event") -> None:
    with file_lock(path):
        held.set()
        time.sleep(60)


def test_a_lock_is_held_between_processes_and_freed_by_a_kill(tmp_path: Path) -> None:
    held = multiprocessing.get_context("fork").Event()
    holder = Fork(target=_hold, args=(tmp_path / "deep" / "lock", held))
    holder.start()
    held.wait(10)
    began = time.monotonic()
    killer = Fork(target=lambda: (time.sleep(0.3), os.kill(holder.pid or 0, 9)))
    killer.start()
    with file_lock(tmp_path / "deep" / "lock"):
        assert time.monotonic() - began > 0.2
    killer.join()
    holder.join()
