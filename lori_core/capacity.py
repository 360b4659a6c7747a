"""How much of B is owned and how much is free, and whether the planned tasks fit. No torch.

N is the number of entries of B over all layers; a layer's entries are d_out · r. Under `disjoint`
protection an entry has at most one owner, for ever; under `overlap` and `separate` nothing is owned.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from lori_core.config import AdapterConfig, Granularity
from lori_core.errors import BadInput, CapacityError, InvalidSparsity

_ATTENTION = ("attn", "attention", "self_attn", "self_attention", "crossattention")


@dataclass(frozen=True)
class Capacity:
    """Entries of each matrix, and how many of them each task owns."""

    entries: Mapping[str, int]
    """layer name -> d_out · r."""

    owned: tuple[Mapping[str, int], ...]
    """For each task in order: layer name -> entries it owns (layers may be left out)."""

    @property
    def free(self) -> dict[str, int]:
        """layer name -> entries nobody owns."""
        return {
            layer: n - sum(task.get(layer, 0) for task in self.owned)
            for layer, n in self.entries.items()
        }

    @property
    def total(self) -> int:
        """N, all entries."""
        return sum(self.entries.values())

    @property
    def total_free(self) -> int:
        """Entries nobody owns, over all layers."""
        return sum(self.free.values())


@dataclass(frozen=True)
class PlannedTask:
    """What one task will take."""

    position: int
    sparsity: float
    budget: int
    """Entries it will own (or write, where nothing is owned)."""
    free_after: int
    """Entries left for the tasks after it."""


@dataclass(frozen=True)
class CapacityPlan:
    """What every task of a sequence will take, known before anything is trained."""

    total: int
    """N, all entries of B."""
    tasks: tuple[PlannedTask, ...]


def entries_of(shapes: Mapping[str, tuple[int, int]], r: int) -> dict[str, int]:
    """layer name -> entries of its B, from layer name -> (d_out, d_in)."""
    return {layer: d_out * r for layer, (d_out, _) in shapes.items()}


def plan_capacity(
    shapes: Mapping[str, tuple[int, int]], adapter: AdapterConfig, sparsities: Sequence[float]
) -> CapacityPlan:
    """What each task will take, refusing what cannot fit before anything is trained.

    Args:
        shapes: layer name -> (d_out, d_in), from `adapters.adapter_shapes`.
        adapter: the sequence's adapter settings.
        sparsities: of each task in order (`config.task_sparsity`).

    Raises:
        CapacityError: under `disjoint`, the tasks together need more entries than there are.
        InvalidSparsity: a sparsity outside [0, 1).
        BadInput: a sparsity that leaves a task no entry at all.
    """
    total = sum(entries_of(shapes, adapter.r).values())
    free = total
    planned: list[PlannedTask] = []
    for position, sparsity in enumerate(sparsities, start=1):
        budget = task_budget(total, free, sparsity, tasks=position, where=f"task {position}")
        if adapter.protection == "disjoint":
            free -= budget
        planned.append(PlannedTask(position, sparsity, budget, free))
    return CapacityPlan(total=total, tasks=tuple(planned))


def task_budget(
    total: int, free: int, sparsity: float, *, tasks: int = 1, where: str = "task"
) -> int:
    """Entries a task marks: round((1 - sparsity) · N), or what is free when rounding alone is short.

    Rounding may take half an entry too many per task, so that the last of several tasks that fill
    B exactly would miss a few: it takes what is left instead of being refused for them.

    Args:
        total: N.
        free: entries nobody owns.
        sparsity: this task's, in [0, 1).
        tasks: tasks so far, this one included.
        where: who asks, for the message.

    Raises CapacityError, InvalidSparsity, or BadInput when the task would have no entry at all.
    """
    if not 0.0 <= sparsity < 1.0:
        raise InvalidSparsity(sparsity)
    wanted = round((1.0 - sparsity) * total)
    if wanted > free and (free == 0 or wanted - free > (tasks + 1) // 2):
        raise CapacityError(where, wanted, free)
    budget = min(wanted, free)
    if budget == 0:
        raise BadInput(
            f"{where}: sparsity {sparsity} of {total} entries of B leaves none to train",
            "at least one entry",
            "Lower `sparsity` or raise `r`.",
        )
    return budget


def floors(entries: Mapping[str, int], *, planned: int, position: int) -> dict[str, int]:
    """Entries the task at `position` must leave free in each matrix.

    Were every task to take its share of every matrix evenly, a matrix of n entries would have
    n · (planned - position) / planned of them free after the task at `position`: its fair share.
    The floor is half of that, rounded up; 0 from the last planned task on.

    Args:
        entries: layer name -> n.
        planned: `tasks_planned`.
        position: 1 for the first task.
    """
    left = max(0, planned - position)
    return {layer: -(-n * left // (2 * planned)) for layer, n in entries.items()}


def task_floors(capacity: Capacity, *, budget: int, planned: int, position: int) -> dict[str, int]:
    """The floors that hold for one task: `floors`, or lower ones where its budget needs them.

    A task with a sparsity of its own may rightly take more than 1/planned. Where the floors of the
    plan would refuse it, each matrix keeps half its fair share of what the task really leaves:
    n · free_after / (2 N), rounded down, which always leaves room for the budget.
    """
    plan = floors(capacity.entries, planned=planned, position=position)
    free = capacity.free
    if sum(max(0, free[layer] - plan[layer]) for layer in free) >= budget:
        return plan
    free_after = capacity.total_free - budget
    return {
        layer: min(plan[layer], n * free_after // (2 * capacity.total))
        for layer, n in capacity.entries.items()
    }


def share_out(budget: int, *, sizes: Mapping[str, int], room: Mapping[str, int]) -> dict[str, int]:
    """Split `budget` over groups in proportion to their sizes, none beyond its room.

    Groups whose share reaches their room are filled, and the rest is shared over the others; there
    each gets its whole share, and the entries left go one each by largest remainder, ties to the
    earlier group. The parts sum to `budget` exactly. Needs sum(room) >= budget.
    """
    given = dict.fromkeys(sizes, 0)
    open_groups = [name for name in sizes if room[name] > 0]
    rest = budget
    while open_groups:
        weight = sum(sizes[name] for name in open_groups)
        shares = {name: divmod(rest * sizes[name], weight) for name in open_groups}
        full = [name for name in open_groups if shares[name][0] >= room[name]]
        for name in full:
            given[name] = room[name]
        if not full:
            left = rest - sum(whole for whole, _ in shares.values())
            by_remainder = sorted(open_groups, key=lambda name: -shares[name][1])  # stable
            for name in open_groups:
                given[name] = shares[name][0] + (name in by_remainder[:left])
            break
        rest = budget - sum(given.values())
        open_groups = [name for name in open_groups if name not in full]
    return given


def group_of(layer: str, granularity: Granularity) -> str:
    """The group whose entries compete with those of `layer`.

    model: one group. module: attention or mlp. projection: the same projection of every block.
    layer: one block. matrix: one layer. The block is the path up to its index.
    """
    if granularity == "model":
        return "model"
    if granularity == "matrix":
        return layer
    parts = layer.split(".")
    if granularity == "module":
        return "attention" if any(part in _ATTENTION for part in parts) else "mlp"
    index = next((i for i, part in enumerate(parts) if part.isdigit()), -1)
    if granularity == "layer":
        return ".".join(parts[: index + 1]) or layer
    return ".".join(parts[index + 1 :])
