"""The phases of one task: calibrate, choose the mask, train. Exactly `docs/method.md`.

What a task sees in its forward pass while it calibrates and trains is what it will see when it
serves: B as the sequence's read mode shows it. What earlier tasks own is never written.

    disjoint   B starts as the read mode shows the earlier tasks; they are protected
    overlap    LoRI as published: calibration from B = 0, training from B as it stands, nothing
               protected
    separate   an A and a B of its own, from zero
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import safetensors
import safetensors.torch
import torch
from jaxtyping import Bool, Float
from peft import PeftModel
from torch import Tensor, nn

from lori_core.adapters import (
    ADAPTER,
    adapter_shapes,
    lora_layers,
    read_a,
    read_b,
    storage_dtype,
    write_a,
    write_b,
)
from lori_core.config import AdapterConfig, TrainingConfig
from lori_core.digests import sha256_bytes, sha256_json, write_atomic
from lori_core.distributed import ALONE, Ranks
from lori_core.encoding import EncodedRow
from lori_core.errors import BadInput
from lori_core.heads import freeze_head, head_parameters, head_state, restart_head
from lori_core.masks import pack_mask, task_masks
from lori_core.order import derive_seed
from lori_core.packed import PackedB
from lori_core.phase import (
    Device,
    Family,
    PhaseLog,
    PhaseName,
    PhaseSettings,
    Watch,
    phase_settings,
)
from lori_core.reading import effective_b, read_mask
from lori_core.seeded import seeded_a
from lori_core.shared_adapter import SharedAdapter, TaskAdapter, a_digests
from lori_core.tensor_digests import sha256_tensor, sha256_tensors
from lori_core.training import ParameterGroup, train_packed, train_parameters

NOTHING_LEARNED = SharedAdapter(())
"""What the first task of a sequence stands on."""


@dataclass(frozen=True, kw_only=True)
class Ground:
    """What every task of a sequence stands on."""

    adapter: AdapterConfig
    """The shared adapter's settings."""

    family: Family
    """Causal model or encoder."""

    base_digest: str
    """Identity of the base."""

    pad_id: int
    """`encoding.pad_id` of the tokenizer."""

    pretrained_head: Mapping[str, Tensor]
    """`heads.pretrained_head` of the untrained base; empty for a causal model."""

    device: Device = "cpu"
    """Where the model is, and where phases run."""

    ranks: Ranks = ALONE
    """The processes that share each batch of a phase."""


@dataclass(frozen=True, kw_only=True)
class Lesson:
    """What one task is learned from."""

    task: str
    """Name of the task."""

    rows: Sequence[EncodedRow]
    """Encoded training rows."""

    training: TrainingConfig
    """The task's training settings."""

    labels: tuple[str, ...] = ()
    """An encoder's classes, in order."""


@dataclass(frozen=True)
class CalibratedB:
    """What calibration found: how far it moved each entry of B."""

    change: Mapping[str, Float[Tensor, "_out _r"]]
    """layer name -> B_calibrated - B_start; exactly 0 where protected."""

    log: PhaseLog
    """The phase, step by step."""


@dataclass(frozen=True)
class Trained:
    """A learned task and how its training went."""

    adapter: TaskAdapter
    """What the task added, in storage type."""

    log: PhaseLog
    """The phase, step by step."""


def task_seed(adapter: AdapterConfig, task: str) -> int:
    """Seed of a task's A: the sequence's own, or under `separate` one derived for the task."""
    if adapter.protection == "separate":
        return derive_seed(adapter.seed, "A", task)
    return adapter.seed


def calibrate(
    model: PeftModel,
    lesson: Lesson,
    ground: Ground,
    *,
    earlier: SharedAdapter = NOTHING_LEARNED,
    output: Path,
    watch: Watch | None = None,
) -> CalibratedB:
    """LoRI-D: train every unprotected entry densely, note how far each moved, and put B back.

    Args:
        model: the base with its adapter attached, on `ground.device`; A is (re)written here.
        lesson: the task.
        ground: the sequence.
        earlier: the tasks learned before this one.
        output: folder for checkpoints of this phase; it resumes there by itself.
        watch: told and asked between steps.

    Raises:
        BadInput: no rows, fewer than two labels, or a loss that is no longer finite.

    Source:
        LoRI, arXiv:2504.07448, section 3; the published code also re-draws A after this phase, we
        keep it.
    """
    start = _start(model, lesson, ground, earlier, "calibrate")
    protected = earlier.protected(earlier.version)
    trainable = {
        name: ~protected[name] if name in protected else torch.ones_like(b, dtype=torch.bool)
        for name, b in start.items()
    }
    log = _run_packed(model, lesson, ground, "calibrate", trainable, output, watch)
    change = {name: (b - start[name].to(b)).cpu() for name, b in read_b(model).items()}
    write_b(model, start)
    return CalibratedB(change, log)


def choose_masks(
    calibrated: CalibratedB,
    ground: Ground,
    *,
    sparsity: float,
    earlier: SharedAdapter = NOTHING_LEARNED,
) -> dict[str, Bool[Tensor, "_out _r"]]:
    """The write mask W_t: the entries calibration moved most, none of them protected.

    Raises CapacityError and InvalidSparsity as `masks.task_masks` does.
    """
    return task_masks(
        calibrated.change,
        adapter=ground.adapter,
        sparsity=sparsity,
        position=earlier.version + 1,
        protected=earlier.protected(earlier.version),
    )


def train_sparse(
    model: PeftModel,
    masks: Mapping[str, Bool[Tensor, "_out _r"]],
    lesson: Lesson,
    ground: Ground,
    *,
    earlier: SharedAdapter = NOTHING_LEARNED,
    output: Path,
    watch: Watch | None = None,
) -> Trained:
    """LoRI-S: train the entries of W_t alone, from B as the task's read mode shows it.

    Arguments, resuming and errors are as for `calibrate`. The values come back rounded once to the
    storage type; the model is left with B as trained, in fp32.
    """
    _start(model, lesson, ground, earlier, "train")
    log = _run_packed(model, lesson, ground, "train", masks, output, watch)
    return Trained(_filed(model, masks, lesson, ground, earlier), log)


def train_lora(
    model: PeftModel,
    lesson: Lesson,
    ground: Ground,
    *,
    earlier: SharedAdapter = NOTHING_LEARNED,
    output: Path,
    watch: Watch | None = None,
) -> Trained:
    """Plain LoRA for `method: lora` (`protection: separate`): A and B train densely, from B = 0.

    Arguments, resuming and errors are as for `calibrate`. The mask is all of B; A is stored.
    """
    if ground.adapter.method != "lora":
        raise ValueError("train_lora is for adapters attached with method: lora")
    _start(model, lesson, ground, earlier, "train")
    log = run_lora(model, lesson, ground, output=output, watch=watch)
    whole = {name: torch.ones_like(b, dtype=torch.bool) for name, b in read_b(model).items()}
    return Trained(_filed(model, whole, lesson, ground, earlier), log)


def run_lora(
    model: PeftModel,
    lesson: Lesson,
    ground: Ground,
    *,
    output: Path,
    watch: Watch | None = None,
) -> PhaseLog:
    """Train A, B and a fresh head from where A and B stand: the engine of plain LoRA."""
    new_head(model, lesson, ground)
    settings = settings_of(lesson, ground, "train")
    try:
        return train_parameters(
            model,
            [
                ParameterGroup(lora_parameters(model), settings.learning_rate),
                ParameterGroup(trained_head(model, ground), settings.learning_rate_head),
            ],
            lesson.rows,
            settings=settings,
            output=output,
            watch=watch,
            context=context_of(model, {}, ground),
            ranks=ground.ranks,
        )
    finally:
        if ground.family == "encoder":
            freeze_head(model)


def lora_parameters(model: PeftModel) -> dict[str, nn.Parameter]:
    """`<layer>.A` and `<layer>.B` -> parameter, for training both."""
    return {
        f"{name}.{letter}": weights[ADAPTER].weight
        for name, layer in lora_layers(model).items()
        for letter, weights in (("A", layer.lora_A), ("B", layer.lora_B))
    }


def settings_of(lesson: Lesson, ground: Ground, phase: PhaseName) -> PhaseSettings:
    """The settings of one phase of a task."""
    return phase_settings(
        lesson.training,
        phase=phase,
        task=lesson.task,
        family=ground.family,
        seed=ground.adapter.seed,
        pad_id=ground.pad_id,
        device=ground.device,
    )


def write_seeded_a(model: PeftModel, ground: Ground, *, seed: int) -> None:
    """Fill A from `seed`, rounded to storage type as `attach` does."""
    rounding = storage_dtype(model)
    shapes = adapter_shapes(model, ground.adapter)
    write_a(
        model,
        {
            name: seeded_a(seed, name, ground.adapter.r, d_in).to(rounding)
            for name, (_, d_in) in shapes.items()
        },
    )


def new_head(model: nn.Module, lesson: Lesson, ground: Ground) -> None:
    """Restart an encoder's head for this task; nothing for a causal model."""
    if ground.family == "encoder":
        seed = derive_seed(ground.adapter.seed, "head", lesson.task)
        labels = len(lesson.labels)
        restart_head(model, ground.pretrained_head, seed=seed, num_labels=labels)


def context_of(
    model: PeftModel, trainable: Mapping[str, Bool[Tensor, "_out _r"]], ground: Ground
) -> str:
    """Digest of what a phase stands on: base, scale, A, the B it starts from, what it may write."""
    packed = {name: pack_mask(mask) for name, mask in trainable.items()}
    return sha256_json(
        {
            "base": ground.base_digest,
            "scaling": ground.adapter.lora_alpha / ground.adapter.r,
            "a": sha256_tensors(read_a(model)),
            "b": sha256_tensors(read_b(model)),
            "masks": sha256_tensors(packed),
        }
    )


def trained_head(model: PeftModel, ground: Ground) -> dict[str, nn.Parameter]:
    """The head's parameters by name; none for a causal model."""
    return head_parameters(model) if ground.family == "encoder" else {}


def save_calibrated(calibrated: CalibratedB, path: Path) -> str:
    """Write what calibration found as safetensors, whole or not at all; its sha256 comes back."""
    header = {"layers": list(calibrated.change), "log": asdict(calibrated.log)}
    data = safetensors.torch.save(
        dict(calibrated.change), metadata={"calibration": json.dumps(header)}
    )  # one key of metadata, because safetensors writes several in any order
    write_atomic(path, data)
    return sha256_bytes(data)


def load_calibrated(path: Path) -> CalibratedB:
    """Read what `save_calibrated` wrote. Raises BadInput for a file it did not write."""
    try:
        with safetensors.safe_open(path, framework="pt") as file:
            header = json.loads(file.metadata()["calibration"])
            # in the model's order, which decides between equal scores
            change = {name: file.get_tensor(name) for name in header["layers"]}
            log = header["log"]
    except (OSError, safetensors.SafetensorError, KeyError, TypeError, ValueError) as error:
        raise BadInput(f"{path}", "the result of a calibration", "Calibrate again.") from error
    losses, grad_norms = tuple(log["losses"]), tuple(log["grad_norms"])
    return CalibratedB(change, PhaseLog(log["steps"], losses, grad_norms, log["tokens"]))


def _start(
    model: PeftModel, lesson: Lesson, ground: Ground, earlier: SharedAdapter, phase: PhaseName
) -> dict[str, Tensor]:
    """Put A, B and the head where the phase begins; B comes back."""
    adapter = ground.adapter
    write_seeded_a(model, ground, seed=task_seed(adapter, lesson.task))
    start = {name: torch.zeros_like(b) for name, b in read_b(model).items()}
    shown = adapter.protection == "disjoint" or (
        adapter.protection == "overlap" and phase == "train"
    )
    if shown and earlier.version:
        written = [earlier.write_masks(p) for p in range(1, earlier.version + 1)]
        seen = read_mask(adapter.read, earlier.version + 1, written)
        start |= effective_b(earlier.b_at(earlier.version), seen)
    write_b(model, start)
    new_head(model, lesson, ground)
    return start


def _run_packed(
    model: PeftModel,
    lesson: Lesson,
    ground: Ground,
    phase: PhaseName,
    trainable: Mapping[str, Tensor],
    output: Path,
    watch: Watch | None,
) -> PhaseLog:
    context = context_of(model, trainable, ground)
    packed = PackedB(model, trainable)
    try:
        return train_packed(
            model,
            packed,
            trained_head(model, ground),
            lesson.rows,
            settings=settings_of(lesson, ground, phase),
            output=output,
            watch=watch,
            context=context,
            ranks=ground.ranks,
        )
    finally:
        packed.remove()
        if ground.family == "encoder":
            freeze_head(model)


def _filed(
    model: PeftModel,
    masks: Mapping[str, Tensor],
    lesson: Lesson,
    ground: Ground,
    earlier: SharedAdapter,
) -> TaskAdapter:
    """What the task added, out of the trained model."""
    adapter, dtype = ground.adapter, storage_dtype(model)
    shapes = adapter_shapes(model, adapter)
    seed = task_seed(adapter, lesson.task)
    b = {name: weight.cpu() for name, weight in read_b(model).items()}
    masks = {name: mask.cpu() for name, mask in masks.items()}
    lora = adapter.method == "lora"
    a = {name: w.cpu().to(dtype) for name, w in read_a(model).items()} if lora else None
    return TaskAdapter(
        task=lesson.task,
        position=earlier.version + 1,
        seed=seed,
        r=adapter.r,
        lora_alpha=adapter.lora_alpha,
        method=adapter.method,
        protection=adapter.protection,
        read=adapter.read,
        layers=shapes,
        masks=masks,
        values={name: b[name][mask].to(dtype) for name, mask in masks.items()},
        head=head_state(model) if ground.family == "encoder" else None,
        labels=lesson.labels,
        a_digests=(
            a_digests(seed, shapes, adapter.r, dtype)
            if a is None
            else {name: sha256_tensor(matrix) for name, matrix in a.items()}
        ),
        base_digest=ground.base_digest,
        parents=() if adapter.protection == "separate" else earlier.digests(),
        a=a,
    )
