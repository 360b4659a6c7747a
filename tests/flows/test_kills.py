from pathlib import Path

import pytest

from tests.flows.kills import survive

KILLS = 3


@pytest.mark.slow
def test_a_run_killed_at_random_moments_ends_in_the_same_bits(tmp_path: Path) -> None:
    assert survive(tmp_path, KILLS, seed=0) == KILLS
