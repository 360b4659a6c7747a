import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from flows.prior_run import end_leftovers, only_attempt, only_run, recorded
from flows.processes import identify
from lori_core.errors import BadInput, Unavailable

SLEEPER = [sys.executable, "-c", "import time; time.sleep(60)"]


def test_a_sequence_is_learned_by_one_run_at_a_time(tmp_path: Path) -> None:
    with only_run(tmp_path, "s"):
        with pytest.raises(BadInput, match=f"process {os.getpid()} is learning it now"):
            only_run(tmp_path, "s").__enter__()
        with only_run(tmp_path, "another"):
            pass
    with only_run(tmp_path, "s"):
        pass


def test_what_a_killed_run_left_is_ended_before_the_next_one_begins(tmp_path: Path) -> None:
    left = subprocess.Popen(SLEEPER)
    (tmp_path / "runs").mkdir()
    record = tmp_path / "runs" / "s.json"
    record.write_text(json.dumps([identify(left.pid, "stages").as_json()]))
    with only_run(tmp_path, "s"):
        assert left.wait(timeout=5) == -9


def test_a_run_records_its_processes_while_it_runs_and_leaves_no_record(tmp_path: Path) -> None:
    path = tmp_path / "runs" / "s.json"
    with only_run(tmp_path, "s") as run:
        child = subprocess.Popen(SLEEPER)
        run.add(identify(child.pid, "stages"))
        assert [(each.what, each.pid) for each in recorded(path)] == [
            ("run", os.getpid()),
            ("stages", child.pid),
        ]
        child.kill()
        child.wait()
    assert not path.exists()


@pytest.mark.parametrize("content", ["", "[{", "[]"])
def test_a_record_that_was_never_written_whole_names_nobody(tmp_path: Path, content: str) -> None:
    (tmp_path / "s.json").write_text(content)
    assert end_leftovers(tmp_path / "s.json") == []


HOLDER = """
import sys, time
from pathlib import Path
from flows.prior_run import only_attempt
with only_attempt(Path(sys.argv[1]), "s", lambda: None):
    print("held", flush=True)
    time.sleep(60)
"""


def test_a_newer_attempt_ends_an_older_one_that_is_only_stopped_and_holds_the_lock(
    tmp_path: Path,
) -> None:
    command = [sys.executable, "-c", HOLDER, str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as older:
        assert older.stdout is not None
        assert older.stdout.readline() == b"held\n"
        older.send_signal(signal.SIGSTOP)
        with only_attempt(tmp_path, "s", lambda: None):
            assert older.wait(timeout=5) == -signal.SIGKILL


def test_an_attempt_whose_turn_is_over_ends_nobody(tmp_path: Path) -> None:
    class TurnOver(Exception):
        pass

    def over() -> None:
        raise TurnOver

    with only_attempt(tmp_path, "s", lambda: None), pytest.raises(TurnOver):
        only_attempt(tmp_path, "s", over).__enter__()


def test_an_attempt_waits_for_a_run_by_hand(tmp_path: Path) -> None:
    with only_run(tmp_path, "s"), pytest.raises(Unavailable, match="is learning it now"):
        only_attempt(tmp_path, "s", lambda: None).__enter__()
