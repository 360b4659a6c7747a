from pathlib import Path

import pytest

from tests.flows.conftest import Lab
from tests.flows.kills import survive

KILLS = 3


@pytest.mark.slow
def test_a_run_killed_at_random_moments_ends_in_the_same_bits(tmp_path: Path, learned: Lab) -> None:
    rough = tmp_path / "rough"
    rough.mkdir()
    survive(rough, learned.home, KILLS, seed=0)
