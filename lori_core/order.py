"""The order of training rows, and every other seed that is derived from the sequence's.

No global random state is read or changed: an order depends on its key alone, on every machine.
"""

import hashlib

import numpy as np

from lori_core.errors import BadInput


def derive_seed(seed: int, *parts: str) -> int:
    """A seed of its own for one purpose, e.g. the head of one task.

    The first 63 bits of sha256("lori-seed-v1|seed|part|..."): two purposes never share a seed,
    and the same purpose has the same seed everywhere.
    """
    text = "|".join(("lori-seed-v1", str(seed), *parts))
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "little") >> 1


def row_order(rows: int, epochs: float, seed: int, *, phase: str, task: str) -> list[int]:
    """The index of every row a phase trains on, in order: one permutation after another.

    Each epoch is a permutation of its own; the last one is cut where `epochs` ends. Batches are
    cut from this one stream, so that only the last batch of a phase can be smaller.

    Args:
        rows: how many training rows there are, at least 1.
        epochs: passes over them, above 0; `round(epochs * rows)` indices come back, at least 1.
        seed: the sequence's seed.
        phase: name of the phase; calibration and training see different orders.
        task: name of the task.

    Raises:
        BadInput: there are no rows.

    Source:
        Integers of numpy's Philox, whose stream NEP 19 guarantees, ranked by a stable sort.
    """
    if rows < 1:
        raise BadInput(f"training rows of task {task!r}: 0", "at least 1", "Add rows to `train`.")
    wanted = max(1, round(epochs * rows))
    order: list[int] = []
    while len(order) < wanted:
        epoch = len(order) // rows
        key = derive_seed(seed, "order", phase, task, str(epoch))
        draws = np.random.Philox(key=key).random_raw(rows)
        order.extend(np.argsort(draws, kind="stable").tolist())
    return order[:wanted]
