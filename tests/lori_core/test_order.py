"""The order of rows, and seeds of their own."""

import random

import numpy as np
import pytest
import torch

from lori_core.errors import BadInput
from lori_core.order import derive_seed, row_order


def order(rows: int = 20, epochs: float = 1.0, seed: int = 0, phase: str = "train") -> list[int]:
    return row_order(rows, epochs, seed, phase=phase, task="sums")


def test_an_epoch_visits_every_row_once() -> None:
    assert sorted(order(37)) == list(range(37))


def test_every_epoch_is_a_permutation_of_its_own() -> None:
    whole = order(37, epochs=3.0)
    epochs = [whole[:37], whole[37:74], whole[74:]]
    assert all(sorted(epoch) == list(range(37)) for epoch in epochs)
    assert len({tuple(epoch) for epoch in epochs}) == 3


def test_part_of_an_epoch_is_the_beginning_of_the_whole_one() -> None:
    assert order(40, epochs=1.5) == order(40, epochs=2.0)[:60]
    assert order(40, epochs=0.1) == order(40)[:4]
    assert len(order(3, epochs=0.01)) == 1


@pytest.mark.parametrize("other", [{"seed": 1}, {"phase": "calibrate"}])
def test_another_seed_or_phase_sees_another_order(other: dict[str, object]) -> None:
    assert order(**other) != order()  # type: ignore[arg-type]


def test_another_task_sees_another_order() -> None:
    assert row_order(20, 1.0, 0, phase="train", task="words") != order()


def test_no_global_random_state_is_read_or_changed() -> None:
    def states() -> tuple[object, ...]:
        return str(np.random.get_state()), torch.get_rng_state().tolist()  # noqa: NPY002

    before = states()
    first = order()
    assert states() == before
    random.seed(1)
    torch.manual_seed(1)
    assert order() == first


def test_the_order_is_the_same_on_every_machine() -> None:
    assert row_order(8, 1.0, 0, phase="train", task="sums") == GOLDEN


def test_seeds_for_different_purposes_differ_and_fit_in_63_bits() -> None:
    seeds = {derive_seed(s, what) for s in range(3) for what in ("A", "head", "order")}
    assert len(seeds) == 9
    assert all(0 <= seed < 2**63 for seed in seeds)


def test_no_rows_is_refused() -> None:
    with pytest.raises(BadInput, match="sums"):
        order(0)


GOLDEN = [2, 6, 0, 4, 3, 1, 5, 7]
