import hashlib
import math
import subprocess
import sys

import numpy as np
import torch

from lori_core.seeded import seeded_a


def test_the_golden_a_has_its_bits() -> None:
    a = seeded_a(0, "model.layers.0.mlp.down_proj", 32, 14336)
    assert a.dtype == torch.float32
    assert hashlib.sha256(a.numpy().tobytes()).hexdigest().startswith("3df588ba42e81a8e")


def test_another_process_makes_the_same_bits() -> None:
    code = (
        "import sys; from lori_core.seeded import seeded_a\n"
        "sys.stdout.buffer.write(seeded_a(7, 'x.0.q', 3, 11).numpy().tobytes())"
    )
    other = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True).stdout
    assert other == seeded_a(7, "x.0.q", 3, 11).numpy().tobytes()


def test_seed_name_and_shape_each_give_other_numbers() -> None:
    variants = [
        seeded_a(0, "q", 4, 8),
        seeded_a(1, "q", 4, 8),
        seeded_a(0, "k", 4, 8),
        seeded_a(0, "q", 8, 4).reshape(4, 8),
    ]
    assert len({v.numpy().tobytes() for v in variants}) == 4


def test_numbers_are_uniform_between_plus_and_minus_one_over_root_d_in() -> None:
    d_in = 64
    a = seeded_a(3, "layer", 500, d_in).double().numpy()
    bound = 1 / math.sqrt(d_in)
    assert np.abs(a).max() < bound
    assert abs(a.mean()) < 4 * bound / math.sqrt(3 * a.size)
    assert abs(a.std() / (bound / math.sqrt(3)) - 1) < 0.02
    deciles, _ = np.histogram(a, bins=10, range=(-bound, bound))
    assert np.abs(deciles / a.size - 0.1).max() < 0.01


def test_the_global_random_state_is_left_alone() -> None:
    before = torch.get_rng_state()
    seeded_a(0, "q", 4, 8)
    assert torch.equal(before, torch.get_rng_state())
