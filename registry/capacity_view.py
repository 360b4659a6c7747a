"""How much of B is owned, group by group, and how many more tasks fit: figures of `lori_core.capacity`.

Sizes of matrices stand in the newest version's `lori.safetensors`, whose header alone is read.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import cast

from lori_core.capacity import group_of, share_out, task_budget
from lori_core.config import AdapterConfig, DataSource, Granularity, TaskConfig, task_sparsity
from lori_core.errors import BadInput, CapacityError, CheckFailed
from registry.artifacts import local_folder
from registry.mask_files import entries_by_layer
from registry.records import Json
from registry.remembered import Remembered
from registry.version_rows import VersionRow

FARTHEST = 10_000
"""Tasks beyond which a forecast stops counting."""

_sizes: Remembered[tuple[str, str], dict[str, int]] = Remembered(most=64)


@dataclass(frozen=True, slots=True, kw_only=True)
class CapacityGroup:
    """The entries of some matrices of B."""

    name: str
    total: int
    used: int
    """Owned by the learned tasks."""
    planned: int
    """What the declared tasks that are not learned yet will take, if they take what is free evenly."""
    free: int
    """Neither."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Forecast:
    """How many more tasks fit."""

    declared: int
    """Tasks that are declared and not learned yet."""
    declared_fit: int
    """How many of them fit, in their order."""
    further: int
    """Tasks of the sequence's own sparsity that fit after them."""
    sparsity: float
    budget: int
    """Entries each of those takes."""
    more: bool
    """True: the counting stopped at `FARTHEST`, and more would fit."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CapacityView:
    """Capacity of a sequence."""

    owned: bool
    """False: under this protection nothing is owned, and capacity limits nothing."""
    protection: str
    total: int
    """N, all entries of B; 0 before the first version."""
    used: int
    planned: int
    free: int
    """Neither used nor planned."""
    projections: tuple[CapacityGroup, ...]
    blocks: tuple[CapacityGroup, ...]
    why_not: str | None
    """Why the groups are not known, where they are not."""
    forecast: Forecast | None
    """None where nothing is owned, nothing was learned yet, or the records contradict each other."""
    left: tuple[float, ...]
    """After each version, the share of N that nobody owns; empty where nothing is owned."""


def capacity_view(
    home: Path, versions: Sequence[VersionRow], adapter: Json, to_come: Sequence[float | None]
) -> CapacityView:
    """What is used, planned and free.

    Args:
        home: where files lie.
        versions: every version, in order.
        adapter: the sequence's adapter settings.
        to_come: of the declared tasks that are not learned yet, in order, the sparsity each has of its own.
    """
    protection = str(adapter.get("protection", "disjoint"))
    owned = protection == "disjoint"
    total = versions[-1].total if versions else 0
    if not owned or not versions:
        return CapacityView(
            owned=owned, protection=protection, total=total, used=0, planned=0, free=total,
            projections=(), blocks=(), why_not=None, forecast=None, left=(),
        )  # fmt: skip
    used = sum(version.nnz for version in versions)
    if used > total:
        why = f"the masks own {used} entries and B has {total}: they are not of one shared adapter"
        return CapacityView(
            owned=owned, protection=protection, total=total, used=used, planned=0, free=0,
            projections=(), blocks=(), why_not=why, forecast=None, left=(),
        )  # fmt: skip
    forecast, planned = _forecast(total, total - used, len(versions), adapter, to_come)
    sizes, why_not = _layer_sizes(home, versions[-1])
    left, free = [], total
    for version in versions:
        free -= version.nnz
        left.append(free / total)
    return CapacityView(
        owned=True,
        protection=protection,
        total=total,
        used=used,
        planned=planned,
        free=total - used - planned,
        projections=_groups(sizes, versions, planned, "projection"),
        blocks=_groups(sizes, versions, planned, "layer"),
        why_not=why_not,
        forecast=forecast,
        left=tuple(left),
    )


def _forecast(
    total: int, free: int, learned: int, adapter: Json, to_come: Sequence[float | None]
) -> tuple[Forecast, int]:
    """The forecast, and the entries that the declared tasks take."""
    before, fit = free, 0
    for own in to_come:
        budget = _budget(total, free, _sparsity(adapter, own), learned + fit + 1)
        if budget is None:
            break
        free, fit = free - budget, fit + 1
    planned = before - free
    sparsity = _sparsity(adapter, None)
    each = _budget(total, total, sparsity, 1) or 0
    further = 0
    if fit == len(to_come):
        while further < FARTHEST:
            budget = _budget(total, free, sparsity, learned + fit + further + 1)
            if budget is None:
                break
            free, further = free - budget, further + 1
    found = Forecast(
        declared=len(to_come), declared_fit=fit, further=further, sparsity=sparsity, budget=each,
        more=further == FARTHEST,
    )  # fmt: skip
    return found, planned


def _budget(total: int, free: int, sparsity: float, position: int) -> int | None:
    """What a task would take; None where it does not fit."""
    try:
        return task_budget(total, free, sparsity, tasks=position)
    except (CapacityError, BadInput):
        return None


def _sparsity(adapter: Json, own: float | None) -> float:
    unset = AdapterConfig()
    planned = cast(int, adapter.get("tasks_planned", unset.tasks_planned))
    return task_sparsity(
        AdapterConfig(
            sparsity=cast("float | None", adapter.get("sparsity")), tasks_planned=planned
        ),
        TaskConfig(
            name="task",
            train=DataSource(),
            test=DataSource(),
            sparsity=own,
        ),
    )


def _layer_sizes(home: Path, version: VersionRow) -> tuple[dict[str, int], str | None]:
    key = (str(home), version.adapter_sha256)
    if known := _sizes.get(key):
        return known, None
    folder = None if version.artifact_uri is None else local_folder(version.artifact_uri, home)
    if folder is None:
        return {}, "the newest version's files are not on this machine"
    try:
        sizes = entries_by_layer(folder / "lori.safetensors")
    except CheckFailed as error:
        return {}, str(error)
    _sizes.put(key, sizes)
    return sizes, None


def _groups(
    sizes: Mapping[str, int], versions: Sequence[VersionRow], planned: int, by: Granularity
) -> tuple[CapacityGroup, ...]:
    group = {layer: group_of(layer, by) for layer in sizes}
    total: dict[str, int] = {}
    used: dict[str, int] = {}
    for layer, entries in sizes.items():
        name = group[layer]
        total[name] = total.get(name, 0) + entries
        taken = sum(version.layers.get(layer, 0) for version in versions)
        used[name] = used.get(name, 0) + taken
    room = {name: total[name] - used[name] for name in total}
    given = share_out(min(planned, sum(room.values())), sizes=room, room=room) if total else {}
    return tuple(
        CapacityGroup(
            name=name,
            total=total[name],
            used=used[name],
            planned=given[name],
            free=room[name] - given[name],
        )
        for name in total
    )
