"""Which entries of B a task may write: exact counts, one ranking rule, five granularities.

A mask is a boolean tensor of B's shape; True means "this task may train this entry". Every
function here is deterministic on every device: equal scores go to the earlier entry (mapping
order, then row-major).
"""

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from jaxtyping import Bool, Float, UInt8
from torch import Tensor

from lori_core.capacity import Capacity, share_out, task_budget, task_floors
from lori_core.capacity import group_of as group_of
from lori_core.config import AdapterConfig, Granularity
from lori_core.errors import BadInput, CapacityError, InvalidSparsity, MaskMismatch

LayerMasks = Mapping[str, Bool[Tensor, "_out r"]]
"""layer name -> mask of that layer's B."""


def magnitude_masks(
    weights: Mapping[str, Float[Tensor, "_out _r"]],
    *,
    sparsity: float,
    protected: Mapping[str, Bool[Tensor, "_out _r"]] | None = None,
) -> dict[str, Bool[Tensor, "_out _r"]]:
    """Mark the largest-magnitude entries, ranked jointly over all layers.

    Of the N entries in all, protected ones included, exactly round((1 - sparsity) · N) (Python's
    round) are marked: largest |value| first, ties to the earlier entry, none of them protected.

    Args:
        weights: layer name -> B (or the change of B), shape (d_out, r).
        sparsity: share of entries left unmarked, in [0, 1).
        protected: layer name -> entries that must not be marked; layers may be left out.

    Raises:
        InvalidSparsity: sparsity outside [0, 1).
        CapacityError: fewer entries are free than must be marked.
        MaskMismatch: a protected mask that does not fit its layer, or is of none of the layers.
        BadInput: a weight that is not a number.

    Source:
        LoRI, arXiv:2504.07448, section 3; reference `extract_mask.py:get_model_mask`, which
        truncates where we round (0.9 of 100 keeps 9) and keeps every tie.
    """
    if not 0.0 <= sparsity < 1.0:
        raise InvalidSparsity(sparsity)
    total = sum(b.numel() for b in weights.values())
    magnitudes = {layer: b.detach().abs() for layer, b in weights.items()}
    return rank_masks(magnitudes, budget=round((1.0 - sparsity) * total), protected=protected)


def rank_masks(
    scores: Mapping[str, Float[Tensor, "_out _r"]],
    *,
    budget: int,
    granularity: Granularity = "model",
    protected: Mapping[str, Bool[Tensor, "_out _r"]] | None = None,
    floors: Mapping[str, int] | None = None,
) -> dict[str, Bool[Tensor, "_out _r"]]:
    """Mark exactly `budget` entries, the highest scores first, within groups of layers.

    The budget is shared out over the groups of `granularity` in proportion to their entries
    (`capacity.share_out`), and within a group all its entries compete. A layer gives at most its
    free entries less its floor: what exceeds that goes to the next best entries of the group.

    Args:
        scores: layer name -> score of each entry, shape (d_out, r); higher is kept.
        budget: entries to mark in all.
        granularity: which entries compete: those of the whole model, or of each group.
        protected: layer name -> entries that must not be marked.
        floors: layer name -> entries that must stay free in that layer after this task.

    Raises:
        CapacityError: the layers cannot give that many; names the budget and what is free.
        MaskMismatch: a protected mask that does not fit its layer, or is of none of the layers.
        BadInput: a score that is not a number.
    """
    for layer, mask in (protected or {}).items():
        if layer not in scores:
            raise MaskMismatch(layer, tuple(mask.shape), ())
    free = {layer: _free(layer, score, protected or {}) for layer, score in scores.items()}
    least = floors or {}
    room = {
        layer: max(0, int(entries.sum()) - least.get(layer, 0)) for layer, entries in free.items()
    }
    if sum(room.values()) < budget:
        raise CapacityError("task", budget, sum(room.values()))
    groups: dict[str, list[str]] = {}
    for layer in scores:
        groups.setdefault(group_of(layer, granularity), []).append(layer)
    quotas = share_out(
        budget,
        sizes={name: sum(scores[x].numel() for x in group) for name, group in groups.items()},
        room={name: sum(room[x] for x in group) for name, group in groups.items()},
    )
    marked: dict[str, Bool[Tensor, "_out _r"]] = {}
    for name, group in groups.items():
        marked |= _mark_group({x: scores[x] for x in group}, free, room, quotas[name])
    return {layer: marked[layer] for layer in scores}


def task_masks(
    change: Mapping[str, Float[Tensor, "_out _r"]],
    *,
    adapter: AdapterConfig,
    sparsity: float,
    position: int,
    protected: Mapping[str, Bool[Tensor, "_out _r"]] | None = None,
) -> dict[str, Bool[Tensor, "_out _r"]]:
    """The write mask of the task at `position` (from 1), by how far calibration moved each entry.

    One call for a phase: |change| is ranked at the adapter's granularity; under `disjoint` the
    protected entries are out before ranking and the floors of `capacity.task_floors` hold; the
    budget is `capacity.task_budget`. Under `overlap` and `separate` nothing is protected.

    Args:
        change: layer name -> B_calibrated - B_start, shape (d_out, r).
        adapter: the sequence's adapter settings.
        sparsity: this task's sparsity (`config.task_sparsity`).
        position: 1 for the first task.
        protected: union of the earlier write masks.

    Raises CapacityError, InvalidSparsity, MaskMismatch and BadInput as `rank_masks` does.
    """
    entries = {layer: score.numel() for layer, score in change.items()}
    fixed = protected if protected and adapter.protection == "disjoint" else {}
    owned = {layer: int(mask.sum()) for layer, mask in fixed.items()}
    capacity = Capacity(entries=entries, owned=(owned,) if owned else ())
    budget = task_budget(capacity.total, capacity.total_free, sparsity, tasks=position)
    floors = (
        task_floors(capacity, budget=budget, planned=adapter.tasks_planned, position=position)
        if adapter.protection == "disjoint"
        else None
    )
    return rank_masks(
        {layer: score.detach().abs() for layer, score in change.items()},
        budget=budget,
        granularity=adapter.granularity,
        protected=fixed,
        floors=floors,
    )


def pack_mask(mask: Bool[Tensor, "_out _r"]) -> UInt8[Tensor, " bytes"]:
    """A mask as bits, eight entries a byte, row-major, the first entry in the highest bit."""
    return torch.from_numpy(np.packbits(mask.detach().cpu().numpy().reshape(-1)))


def unpack_mask(
    packed: UInt8[Tensor, " bytes"], shape: tuple[int, int]
) -> Bool[Tensor, "{shape[0]} {shape[1]}"]:
    """The mask that `pack_mask` packed. Raises MaskMismatch when the bytes are not of `shape`."""
    entries = shape[0] * shape[1]
    bits = np.unpackbits(packed.cpu().numpy())
    if packed.numel() != (entries + 7) // 8 or bits[entries:].any():
        raise MaskMismatch("packed mask", (packed.numel() * 8,), shape)
    return torch.from_numpy(bits[:entries].astype(np.bool_).reshape(shape))


def overlap(masks: Sequence[LayerMasks]) -> tuple[tuple[int, ...], ...]:
    """How many entries each pair of tasks shares: cell [i][j] = |W_i ∩ W_j|, the diagonal |W_i|."""
    return tuple(
        tuple(sum(int((a[layer] & b[layer]).sum()) for layer in a) for b in masks) for a in masks
    )


def union(masks: Sequence[LayerMasks]) -> dict[str, Bool[Tensor, "_out _r"]]:
    """Every entry that any of the tasks may write; empty for no tasks."""
    whole: dict[str, Bool[Tensor, "_out _r"]] = {}
    for written in masks:
        for layer, mask in written.items():
            whole[layer] = whole[layer] | mask if layer in whole else mask.clone()
    return whole


def _free(layer: str, score: Tensor, protected: Mapping[str, Tensor]) -> Bool[Tensor, " entries"]:
    if bool(score.isnan().any()):
        raise BadInput(
            f"layer {layer!r}: a score is not a number",
            "finite values",
            "Training diverged; lower the learning rate.",
        )
    mask = protected.get(layer)
    if mask is None:
        return torch.ones(score.numel(), dtype=torch.bool)
    if mask.shape != score.shape:
        raise MaskMismatch(layer, tuple(mask.shape), tuple(score.shape))
    return ~mask.detach().cpu().to(torch.bool).reshape(-1)


def _mark_group(
    scores: Mapping[str, Tensor],
    free: Mapping[str, Tensor],
    room: Mapping[str, int],
    quota: int,
) -> dict[str, Tensor]:
    """Mark the best `quota` entries of a group, at most `room` of each layer."""
    wide = (
        torch.float64 if any(s.dtype == torch.float64 for s in scores.values()) else torch.float32
    )
    flats = {layer: score.detach().cpu().to(wide).reshape(-1) for layer, score in scores.items()}
    candidates = {
        layer: free[layer]
        if int(free[layer].sum()) <= room[layer]
        else _best(flat, free[layer], room[layer])
        for layer, flat in flats.items()
    }
    marked = _best(torch.cat(list(flats.values())), torch.cat(list(candidates.values())), quota)
    parts = torch.split(marked, [flat.numel() for flat in flats.values()])
    return {
        layer: part.view(score.shape).clone()
        for (layer, score), part in zip(scores.items(), parts, strict=True)
    }


def _best(
    scores: Float[Tensor, " n"], allowed: Bool[Tensor, " n"], count: int
) -> Bool[Tensor, " n"]:
    """Mark the `count` highest allowed scores, ties to the earlier entry, without sorting them."""
    if count == 0:
        return torch.zeros_like(allowed)
    values = scores[allowed]  # (free,), at least `count` of them
    threshold = values.kthvalue(values.numel() - count + 1).values
    above = allowed & (scores > threshold)
    tied = (allowed & (scores == threshold)).nonzero().flatten()  # in order of position
    above[tied[: count - int(above.sum())]] = True
    return above
