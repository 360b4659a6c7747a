import os
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from flows.cell_claims import Claims, side_by_side
from lori_core.errors import CheckFailed

KEYS = tuple(f"cell-{number}" for number in range(12))


def test_a_claim_is_of_one_until_it_is_dropped(tmp_path: Path) -> None:
    mine, yours = Claims(tmp_path), Claims(tmp_path)
    assert mine.take("a")
    assert not yours.take("a")
    mine.drop("a")
    assert yours.take("a")


def test_a_claim_nobody_touches_is_taken_over_and_one_that_is_renewed_is_not(
    tmp_path: Path,
) -> None:
    gone, busy, watcher = Claims(tmp_path), Claims(tmp_path), Claims(tmp_path, stale=0.3)
    assert gone.take("a")
    assert busy.take("b")
    assert not watcher.take("a")
    assert not watcher.take("b")
    time.sleep(0.4)
    os.utime(tmp_path / "b.claim")  # as `renew` does every few seconds
    assert watcher.take("a")
    assert not watcher.take("b")


def test_several_score_every_cell_once(tmp_path: Path) -> None:
    scored: Counter[str] = Counter()

    def score(key: str, still: Callable[[], None]) -> None:
        still()
        time.sleep(0.01)
        scored[key] += 1
        (tmp_path / f"{key}.json").touch()

    def work(*, helper: bool) -> None:
        side_by_side(
            KEYS,
            scored=lambda key: (tmp_path / f"{key}.json").exists(),
            score=score,
            claims=Claims(tmp_path),
            wait=None if helper else lambda missing: time.sleep(0.01),
        )

    helpers = [threading.Thread(target=work, kwargs={"helper": True}) for _ in range(2)]
    for each in helpers:
        each.start()
    work(helper=False)
    assert scored == Counter(KEYS)
    for each in helpers:
        each.join()
    assert not list(tmp_path.glob("*.claim"))


def test_a_helper_that_is_killed_costs_time_alone(tmp_path: Path) -> None:
    """A real process claims a cell and dies with it; what it held is scored by who is left."""
    claim = "import sys; from pathlib import Path; from flows.cell_claims import Claims; "
    claim += "assert Claims(Path(sys.argv[1])).take('cell-3'); import os; os.kill(os.getpid(), 9)"
    dead = subprocess.run([sys.executable, "-c", claim, str(tmp_path)], check=False)
    assert dead.returncode == -9
    done: list[str] = []
    side_by_side(
        KEYS,
        scored=done.__contains__,
        score=lambda key, still: done.append(key),
        claims=Claims(tmp_path),
        wait=None,
    )
    assert sorted(done) == sorted(KEYS)


@pytest.mark.parametrize("left", ["", '{"where": "another host", "pid": 1, "started": 0.0}'])
def test_of_a_claim_that_tells_nothing_here_its_silence_tells(tmp_path: Path, left: str) -> None:
    (tmp_path / "cell-3.claim").write_text(left)
    done: list[str] = []
    waited: list[int] = []

    def wait(missing: int) -> None:
        waited.append(missing)
        time.sleep(0.1)

    side_by_side(
        KEYS,
        scored=done.__contains__,
        score=lambda key, still: done.append(key),
        claims=Claims(tmp_path, stale=0.5),
        wait=wait,
    )
    assert sorted(done) == sorted(KEYS)
    assert done[-1] == "cell-3"
    assert set(waited) == {1}


def test_a_helper_leaves_what_others_hold(tmp_path: Path) -> None:
    assert Claims(tmp_path).take(KEYS[0])
    done: list[str] = []
    side_by_side(
        KEYS,
        scored=done.__contains__,
        score=lambda key, still: done.append(key),
        claims=Claims(tmp_path),
        wait=None,
    )
    assert done == list(KEYS[1:])


def test_a_result_that_cannot_be_read_back_is_told_and_not_scored_for_ever() -> None:
    with pytest.raises(CheckFailed, match="cell-0"):
        side_by_side(
            KEYS, scored=lambda key: False, score=lambda key, still: None, claims=None, wait=None
        )
