"""The state of a sequence: what each task wrote, and what a task reads of it.

A `TaskAdapter` is what one task adds: a write mask and the values under it. A `SharedAdapter` is
the tasks so far; B at version k is those values written one after the other. Everything is a
value: nothing here is ever changed in place.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from lori_core.capacity import Capacity
from lori_core.config import Protection, Read
from lori_core.digests import sha256_json
from lori_core.errors import CheckFailed, DigestMismatch, MaskMismatch
from lori_core.masks import pack_mask, union
from lori_core.reading import effective_b, read_mask
from lori_core.seeded import seeded_a
from lori_core.tensor_digests import sha256_tensor, sha256_tensors

NO_ADAPTER = "0" * 64
"""Digest of an effective adapter that changes nothing: B all zero and no head. It is the base."""


@dataclass(frozen=True, eq=False, kw_only=True)
class TaskAdapter:
    """What one task added to a sequence, in the type it is stored in."""

    task: str
    position: int
    """1 for the first task."""
    seed: int
    """Seed of A: the sequence's, or the task's own under `separate`."""
    r: int
    lora_alpha: float
    method: Literal["lori", "lora"]
    """`lori`, or `lora` (A trained and stored, every entry of B written)."""
    protection: Protection
    read: Read
    """The mode it was trained under."""
    layers: Mapping[str, tuple[int, int]]
    """layer name -> (d_out, d_in), in the model's order."""
    masks: Mapping[str, Bool[Tensor, "_out _r"]]
    """Write mask W_t."""
    values: Mapping[str, Float[Tensor, " _nnz"]]
    """Values under the mask, row-major, in storage type (bf16 or fp32)."""
    head: Mapping[str, Tensor] | None
    """An encoder's head: full parameter name in the base model -> tensor. None for a causal LM."""
    labels: tuple[str, ...]
    """Names of an encoder's classes, in order; empty for a causal LM."""
    a_digests: Mapping[str, str]
    """layer name -> sha256 of A in storage type."""
    base_digest: str
    parents: tuple[str, ...]
    """Content digests of the task adapters before it, in order; empty under `separate`."""
    a: Mapping[str, Float[Tensor, "_r _in"]] | None = None
    """A itself, for `method: lora` alone; otherwise it is made from the seed."""

    def __post_init__(self) -> None:
        """Raise MaskMismatch where masks, values and layers do not fit each other."""
        for layer, (d_out, _) in self.layers.items():
            mask, values = self.masks[layer], self.values[layer]
            if mask.shape != (d_out, self.r):
                raise MaskMismatch(layer, tuple(mask.shape), (d_out, self.r))
            if values.shape != (int(mask.sum()),):
                raise MaskMismatch(f"{layer}.values", tuple(values.shape), (int(mask.sum()),))

    @property
    def dtype(self) -> torch.dtype:
        """The storage type of A and B."""
        return next(iter(self.values.values())).dtype

    @property
    def scaling(self) -> float:
        """lora_alpha / r, pinned with the adapter."""
        return self.lora_alpha / self.r

    def a_matrices(self) -> dict[str, Float[Tensor, "_r _in"]]:
        """layer name -> A in storage type, stored or made from the seed once; not a copy.

        Raises DigestMismatch naming the layer when it is not the A that was certified.
        """
        return dict(self._a_matrices)

    @cached_property
    def _a_matrices(self) -> dict[str, Float[Tensor, "_r _in"]]:
        matrices: dict[str, Tensor] = {}
        for layer, (_, d_in) in self.layers.items():
            if self.a is not None:
                matrix = self.a[layer]
            else:
                matrix = seeded_a(self.seed, layer, self.r, d_in).to(self.dtype)
            if (found := sha256_tensor(matrix)) != self.a_digests[layer]:
                raise DigestMismatch(f"layer {layer} A", self.a_digests[layer], found)
            matrices[layer] = matrix
        return matrices

    def write_onto(self, b: Mapping[str, Float[Tensor, "_out _r"]]) -> dict[str, Tensor]:
        """B with this task's values at its mask and every other entry to the bit as it was."""
        written = {layer: weight.clone() for layer, weight in b.items()}
        self.write_into(written)
        return written

    def write_into(self, b: Mapping[str, Float[Tensor, "_out _r"]]) -> None:
        """`write_onto`, in place."""
        for layer, mask in self.masks.items():
            b[layer][mask] = self.values[layer].to(b[layer].dtype)


def a_digests(
    seed: int, layers: Mapping[str, tuple[int, int]], r: int, dtype: torch.dtype
) -> dict[str, str]:
    """layer name -> sha256 of the seeded A in storage type, for a new TaskAdapter."""
    return {
        layer: sha256_tensor(seeded_a(seed, layer, r, d_in).to(dtype))
        for layer, (_, d_in) in layers.items()
    }


def mask_digest(adapter: TaskAdapter) -> str:
    """The sha256 of a task's write mask: equal for equal masks, wherever they were made."""
    return sha256_json(mask_digests(adapter))


def mask_digests(adapter: TaskAdapter) -> dict[str, str]:
    """layer name -> sha256 of the packed mask (shape included)."""
    return {
        layer: sha256_json([list(mask.shape), sha256_tensor(pack_mask(mask))])
        for layer, mask in adapter.masks.items()
    }


def value_digests(adapter: TaskAdapter) -> dict[str, str]:
    """layer name -> sha256 of the stored values."""
    return {layer: sha256_tensor(values) for layer, values in adapter.values.items()}


def content_digest(adapter: TaskAdapter) -> str:
    """The identity of a task adapter: everything that decides its bits and what they stand on.

    Masks, values, A, head and its labels, scaling, read mode, base and parents; no name of the
    task, no time, no place.
    """
    return sha256_json(
        {
            "method": adapter.method,
            "position": adapter.position,
            "r": adapter.r,
            "lora_alpha": float(adapter.lora_alpha),
            "protection": adapter.protection,
            "read": adapter.read,
            "layers": [[layer, *shape] for layer, shape in adapter.layers.items()],
            "masks": mask_digests(adapter),
            "values": value_digests(adapter),
            "a": dict(adapter.a_digests),
            "head": None if adapter.head is None else sha256_tensors(adapter.head),
            "labels": list(adapter.labels),
            "base": adapter.base_digest,
            "parents": list(adapter.parents),
        }
    )


@dataclass(frozen=True, eq=False, kw_only=True)
class EffectiveAdapter:
    """What one task's forward pass uses at one version under one read mode: plain A and B."""

    task: str
    a: Mapping[str, Float[Tensor, "_r _in"]]
    b: Mapping[str, Float[Tensor, "_out _r"]]
    """Zero wherever the read mask is not set; storage type."""
    head: Mapping[str, Tensor] | None
    labels: tuple[str, ...]
    scaling: float

    @property
    def r(self) -> int:
        """Rank."""
        return int(next(iter(self.a.values())).shape[0])

    @cached_property
    def digest(self) -> str:
        """Content digest of A, B, head, labels and scaling; NO_ADAPTER when it changes nothing."""
        if self.head is None and not any(bool(weight.any()) for weight in self.b.values()):
            return NO_ADAPTER
        return sha256_json(
            {
                "a": sha256_tensors(self.a),
                "b": sha256_tensors(self.b),
                "head": None if self.head is None else sha256_tensors(self.head),
                "labels": list(self.labels),
                "scaling": self.scaling,
            }
        )


@dataclass(frozen=True, eq=False)
class SharedAdapter:
    """The tasks a sequence has learned, in order."""

    adapters: tuple[TaskAdapter, ...]

    def __post_init__(self) -> None:
        """Raise CheckFailed when the tasks do not belong to one sequence or break protection."""
        for position, adapter in enumerate(self.adapters, start=1):
            first = self.adapters[0]
            same = (
                adapter.position == position
                and adapter.protection == first.protection
                and list(adapter.layers.items()) == list(first.layers.items())
                and adapter.base_digest == first.base_digest
                and (adapter.r, adapter.lora_alpha) == (first.r, first.lora_alpha)
                and adapter.dtype == first.dtype
            )
            if not same:
                raise CheckFailed(
                    f"task {adapter.task}",
                    f"does not belong at position {position} of this sequence",
                )
        if self._shares_b and self.protection == "disjoint":
            self._refuse_shared_entries()

    @property
    def version(self) -> int:
        """How many tasks have been learned."""
        return len(self.adapters)

    @property
    def protection(self) -> Protection:
        """How entries are protected. Needs at least one task."""
        return self.adapters[0].protection

    @property
    def _shares_b(self) -> bool:
        return bool(self.adapters) and self.protection != "separate"

    def adapter_of(self, task: str) -> TaskAdapter:
        """The adapter of a task by name. Raises KeyError for a task not learned."""
        for adapter in self.adapters:
            if adapter.task == task:
                return adapter
        raise KeyError(task)

    def write_masks(self, position: int) -> dict[str, Bool[Tensor, "_out _r"]]:
        """W_t of the task at `position` (from 1)."""
        return dict(self.adapters[_checked(position) - 1].masks)

    def b_at(self, version: int) -> dict[str, Float[Tensor, "_out _r"]]:
        """All of B after `version` tasks, in storage type: for t = 1..k, B[W_t] = values_t.

        Under `separate` there is no one B; that raises ValueError.
        """
        if not self._shares_b:
            raise ValueError("separate adapters share no B; ask for effective(...)")
        b = self._zero_b()
        for adapter in self.adapters[:version]:
            adapter.write_into(b)
        return b

    def protected(self, version: int) -> dict[str, Bool[Tensor, "_out _r"]]:
        """Entries a later task must not write: ∪ W_t for t <= version; none unless `disjoint`."""
        if self.adapters and self.protection == "disjoint":
            return union([adapter.masks for adapter in self.adapters[:version]])
        return {}

    def effective(self, task_position: int, version: int, read: Read) -> EffectiveAdapter:
        """What the task at `task_position` reads at `version`.

        A task not yet written at that version reads what it would see in training: nothing under
        isolated, everything written so far otherwise. Under `separate` a task reads its own
        adapter, or nothing. The head is the task's own, once it is learned and `version` has it.
        Needs at least one learned task. Raises DigestMismatch when an A is not the certified one.
        """
        _checked(task_position)
        learned = task_position <= min(version, self.version)
        mine = self.adapters[task_position - 1] if learned else None
        if not self._shares_b:
            b = self._zero_b()
            if mine is not None:
                mine.write_into(b)
        else:
            written = [adapter.masks for adapter in self.adapters[:version]]
            b = effective_b(self.b_at(version), read_mask(read, task_position, written))
        return EffectiveAdapter(
            task="" if mine is None else mine.task,
            a=self._with_a_of(mine or self.adapters[0]).a_matrices(),
            b=b,
            head=None if mine is None else mine.head,
            labels=() if mine is None else mine.labels,
            scaling=self.adapters[0].scaling,
        )

    def capacity(self) -> Capacity:
        """Entries per matrix and who owns them (nobody, unless `disjoint`)."""
        first = self.adapters[0]
        owned = self.adapters if self.protection == "disjoint" else ()
        return Capacity(
            entries={layer: d_out * first.r for layer, (d_out, _) in first.layers.items()},
            owned=tuple({n: int(m.sum()) for n, m in t.masks.items()} for t in owned),
        )

    def digests(self) -> tuple[str, ...]:
        """Content digest of every task adapter, in order: the parents of the next one."""
        return tuple(content_digest(adapter) for adapter in self.adapters)

    def _with_a_of(self, adapter: TaskAdapter) -> TaskAdapter:
        """The first task with the A of this one: a shared A is made and kept once."""
        return next(x for x in self.adapters if x.a_digests == adapter.a_digests)

    def _zero_b(self) -> dict[str, Tensor]:
        first = self.adapters[0]
        return {
            layer: torch.zeros(d_out, first.r, dtype=first.dtype)
            for layer, (d_out, _) in first.layers.items()
        }

    def _refuse_shared_entries(self) -> None:
        taken: dict[str, Tensor] = {}
        for adapter in self.adapters:
            for layer, mask in adapter.masks.items():
                if layer in taken and bool((taken[layer] & mask).any()):
                    raise CheckFailed(
                        f"layer {layer}", f"task {adapter.task} writes entries an earlier task owns"
                    )
            taken = union([taken, adapter.masks])


def _checked(position: int) -> int:
    if position < 1:
        raise ValueError(f"positions start at 1, not {position}")
    return position
