"""Training: one loop for calibration, LoRI-S, plain LoRA and heads.

The engine is `transformers.Trainer`, made thin: our row order, our loss, our optimiser groups and
our checkpoints; its loop, accumulation, clipping and device placement.

    loss   token mean: the sum of -log p over the learned tokens of the whole batch, divided by
           their number, however the batch is split (for an encoder: over its rows)
    steps  AdamW (betas 0.9 and 0.999, eps 1e-8, no weight decay), gradients clipped to one global
           norm, learning rate falling linearly to 0, no warm-up
    form   LoRA layers and attention as `lori_core.step_form` and `lori_core.attention` compute them:
           equal to the served model's up to rounding
    bits   n steps straight equal any split of them by kills and resumes, in one runtime

Several processes share each batch (`lori_core.distributed`): what the loop does is the same in all.
"""

import hashlib
import inspect
import itertools
import json
import math
import random
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from peft import PeftModel
from torch import Tensor, nn
from torch.utils.data import DataLoader
from transformers import PreTrainedModel, PrinterCallback, Trainer

from lori_core.base import refuse_dropout
from lori_core.checkpoints import Checkpoint, Facts, newest_checkpoint, write_checkpoint
from lori_core.digests import sha256_json
from lori_core.distributed import ALONE, Ranks
from lori_core.encoding import IGNORED, EncodedRow, collate_causal, collate_encoder
from lori_core.errors import BadInput
from lori_core.order import row_order
from lori_core.packed import PackedB
from lori_core.phase import PhaseLog, PhaseSettings, Progress, Watch
from lori_core.runtime import fingerprint
from lori_core.step_form import as_a_step
from lori_core.tensor_digests import sha256_tensors
from lori_core.trainer_arguments import trainer_arguments

_BETAS = (0.9, 0.999)
_EPS = 1e-8
_MOMENTS = ("step", "exp_avg", "exp_avg_sq")
_PACKED_NAME = "lori_values"
_ARITHMETIC = (
    "2"  # raise it when a step is computed to other bits: older checkpoints are not resumed
)

Batch = dict[str, Tensor]


@dataclass(frozen=True, slots=True)
class ParameterGroup:
    """Parameters that share a learning rate."""

    parameters: Mapping[str, nn.Parameter]
    """Name -> parameter. Names are what checkpoints are keyed by."""

    learning_rate: float
    """At the first step; it falls linearly to 0."""


def train_packed(
    model: nn.Module,
    packed: PackedB,
    head: Mapping[str, nn.Parameter],
    rows: Sequence[EncodedRow],
    *,
    settings: PhaseSettings,
    output: Path,
    watch: Watch | None = None,
    context: str = "",
    ranks: Ranks = ALONE,
) -> PhaseLog:
    """Train the packed entries of B, and a head where there is one, for one phase.

    While it trains, the flat values are a registered parameter of the model, so that the gradient
    clip and the logged norm see them. Dense B follows after every step (`packed.push`); entries
    that are not packed are never touched.

    Args:
        model: the PEFT model `packed` was made of, on `settings.device`.
        packed: the entries of B to train.
        head: `head_parameters(model)` of an encoder, or empty.
        rows: encoded training rows.
        settings: of this phase.
        output: folder for checkpoints; a phase that was interrupted there goes on by itself.
        watch: told and asked between steps.
        context: digest of whatever else decides the result (base, masks, the B it starts from); a
            checkpoint made in another context is not loaded.
        ranks: the processes that share each batch; every one of them calls this alike.

    Raises:
        BadInput: there are no rows, or the loss is no longer finite.
        RankLost, RanksDiffer, FirstLeft: as `lori_core.distributed` has them, with several.
    """
    groups = [
        ParameterGroup({"values": packed.values}, settings.learning_rate),
        ParameterGroup(head, settings.learning_rate_head),
    ]
    model.register_parameter(_PACKED_NAME, packed.values)
    try:
        return train_parameters(
            model,
            groups,
            rows,
            settings=settings,
            output=output,
            watch=watch,
            context=context,
            after_step=packed.push,
            ranks=ranks,
        )
    finally:
        delattr(model, _PACKED_NAME)


def train_parameters(
    model: nn.Module,
    groups: Sequence[ParameterGroup],
    rows: Sequence[EncodedRow],
    *,
    settings: PhaseSettings,
    output: Path,
    watch: Watch | None = None,
    context: str = "",
    after_step: Callable[[], None] = lambda: None,
    ranks: Ranks = ALONE,
) -> PhaseLog:
    """Train the given parameters of `model` for one phase; everything else stays as it is.

    As `train_packed`, for parameters that are trained where they lie (plain LoRA, a head alone).
    `after_step` runs after every optimiser step and after a checkpoint was loaded.
    """
    groups = [group for group in groups if group.parameters]
    identity = _identity(settings, groups, rows, context, ranks)
    checkpoint = newest_checkpoint(output, identity)
    ranks.agree("where they start", identity.encode(), str(checkpoint and checkpoint.step).encode())
    with _global_random_state_kept(), as_a_step(model, settings.device):
        trainer = LoriTrainer(
            model,
            groups,
            rows,
            settings=settings,
            output=output,
            identity=identity,
            checkpoint=checkpoint,
            watch=watch or Watch(),
            after_step=after_step,
            ranks=ranks,
        )
        try:
            trainer.train(resume_from_checkpoint=checkpoint and str(checkpoint.folder))
        finally:
            model.zero_grad()
            model.eval()
    return trainer.phase_log()


class LoriTrainer(Trainer):  # type: ignore[misc]  # transformers is untyped
    """`transformers.Trainer` with our row order, loss, optimiser groups and checkpoints.

    It reports nowhere, draws no bars and pickles nothing.
    """

    loss_is_scaled_for_ga = True
    optimizer: torch.optim.Optimizer | None

    def __init__(
        self,
        model: nn.Module,
        groups: Sequence[ParameterGroup],
        rows: Sequence[EncodedRow],
        *,
        settings: PhaseSettings,
        output: Path,
        identity: str,
        checkpoint: Checkpoint | None,
        watch: Watch,
        after_step: Callable[[], None],
        ranks: Ranks,
    ) -> None:
        refuse_dropout(model)
        self._groups = list(groups)
        self._parameters = {n: p for group in groups for n, p in group.parameters.items()}
        self._settings = settings
        self._output = output
        self._identity = identity
        self._checkpoint = checkpoint
        self._watch = watch
        self._after_step = after_step
        self._ranks = ranks
        self._save_wished = False
        self._losses: list[float] = []
        self._grad_norms: list[float] = []
        self._tokens = 0
        self._keeps_logits = _keeps_logits(model)
        super().__init__(
            model=model, args=trainer_arguments(settings, output), train_dataset=_Rows(rows)
        )
        self.remove_callback(PrinterCallback)

    def phase_log(self) -> PhaseLog:
        """Every step of the phase, those before an interruption included."""
        return PhaseLog(
            len(self._losses), tuple(self._losses), tuple(self._grad_norms), self._tokens
        )

    # ---- rows -----------------------------------------------------------------------------

    def get_train_dataloader(self) -> "DataLoader[EncodedRow]":
        """All epochs as one pass over micro-batches of the phase's fixed row order."""
        settings = self._settings
        order = row_order(
            len(self.train_dataset),
            settings.num_train_epochs,
            settings.seed,
            phase=settings.phase,
            task=settings.task,
        )
        size = settings.train_batch_size // settings.gradient_accumulation_steps
        return DataLoader(
            self.train_dataset,
            batch_sampler=[order[i : i + size] for i in range(0, len(order), size)],
            collate_fn=self._collate,
            generator=torch.Generator(),  # or torch's global one would be drawn from
        )

    def _collate(self, rows: list[EncodedRow]) -> Batch:
        """This process's part of a micro-batch, with what the whole of it counts."""
        mine = rows[self._ranks.part(rows)]
        counted = torch.tensor([sum(len(row.input_ids) for row in rows), self._targets(rows)])
        part = self._padded(mine) if mine else {"targets": torch.zeros(0, dtype=torch.int64)}
        return part | {"counted": counted}

    def _targets(self, rows: list[EncodedRow]) -> int:
        """How many answers the rows ask for: learned tokens, or one a row of an encoder."""
        if self._settings.family == "encoder":
            return len(rows)
        return sum(len(row.labels[1:]) - row.labels[1:].count(IGNORED) for row in rows)

    def _padded(self, rows: list[EncodedRow]) -> Batch:
        """Rows, padded to the longest among them, with `targets` and where they are predicted."""
        if self._settings.family == "encoder":
            batch = collate_encoder(rows, self._settings.pad_id)
            return batch | {"targets": batch.pop("labels")}
        batch = collate_causal(rows, self._settings.pad_id)
        following = nn.functional.pad(batch.pop("labels")[:, 1:], (0, 1), value=IGNORED)
        learned = following != IGNORED  # (rows, length): the next token is learned here
        return batch | {"targets": following[learned], "learned": learned}

    def get_batch_samples(
        self, epoch_iterator: Iterable[Batch], num_batches: int, device: torch.device
    ) -> tuple[list[Batch], int]:
        """The micro-batches of one step and the number of targets in all of them, of all ranks."""
        batches = list(itertools.islice(epoch_iterator, num_batches))
        counted = [batch.pop("counted").tolist() for batch in batches]
        self._tokens += sum(tokens for tokens, _ in counted)
        return batches, sum(targets for _, targets in counted)

    # ---- one step -------------------------------------------------------------------------

    def compute_loss(
        self,
        model: nn.Module,
        inputs: Batch,
        return_outputs: bool = False,
        num_items_in_batch: int | None = None,
    ) -> Float[Tensor, ""]:
        """This micro-batch's share of the mean over the targets of the whole batch."""
        assert num_items_in_batch is not None
        assert not return_outputs
        targets = inputs.pop("targets")
        if not inputs:  # fewer rows than processes: this one adds nothing
            return 0.0 * torch.stack([each.sum() for each in self._parameters.values()]).sum()
        learned = inputs.pop("learned", None)  # none: an encoder
        if learned is not None and self._keeps_logits:
            logits = model(**inputs, logits_to_keep=learned).logits  # (targets, vocabulary)
        else:
            logits = model(**inputs).logits
        if learned is not None and logits.dim() == 3:
            logits = logits[learned]
        total = nn.functional.cross_entropy(logits.float(), targets, reduction="sum")
        return total / max(1, num_items_in_batch)

    def _clip_grad_norm(self, model: nn.Module) -> Tensor:
        """Before the clip, the step's gradient and loss become those of all processes together."""
        self._save_wished = self._ranks.add_up(
            list(self._parameters.values()),
            self._tr_loss,
            self._watch.checkpoint_due() if self._ranks.first else False,
        )
        norm: Tensor = super()._clip_grad_norm(model)
        return norm

    def floating_point_ops(self, inputs: Batch) -> int:
        """Not counted: it would walk every module at every step."""
        return 0

    def create_optimizer(self, model: nn.Module | None = None) -> torch.optim.Optimizer:
        """AdamW over the groups; dense B follows each step."""
        optimizer = torch.optim.AdamW(
            [
                {"params": list(group.parameters.values()), "lr": group.learning_rate}
                for group in self._groups
            ],
            betas=_BETAS,
            eps=_EPS,
            weight_decay=0.0,
            fused=True,
        )
        optimizer.register_step_post_hook(lambda *_: self._after_step())
        self.optimizer = optimizer
        return optimizer

    def _maybe_log_save_evaluate(
        self,
        tr_loss: Tensor,
        grad_norm: Tensor,
        model: nn.Module,
        trial: None,
        epoch: int,
        ignore_keys_for_eval: None,
        start_time: float,
        learning_rate: float | None = None,
    ) -> None:
        """After every step: keep its figures, save if it is time, tell the caller."""
        step = self.state.global_step
        if step == len(self._losses):  # the loop asks once more when the pass ends
            return
        loss, norm = tr_loss.item(), float(grad_norm)
        tr_loss.zero_()
        settings = self._settings
        if not math.isfinite(loss) or not math.isfinite(norm):
            raise BadInput(
                f"task {settings.task!r}, phase {settings.phase!r}, step {step}: "
                f"loss {loss}, gradient norm {norm}",
                "finite numbers",
                "Lower the learning rate.",
            )
        self._losses.append(loss)
        self._grad_norms.append(norm)
        last = step == self.state.max_steps
        save = self._save_wished or last or step % settings.save_steps == 0
        if save:
            self._save_checkpoint(model, trial)
        progress = Progress(
            settings.task,
            settings.phase,
            step,
            self.state.max_steps,
            loss,
            norm,
            self._tokens,
            save,
        )
        self._ranks.lead(lambda: self._watch.on_progress(progress), may_leave=save)

    # ---- checkpoints ----------------------------------------------------------------------

    def _save_checkpoint(self, model: nn.Module, trial: None) -> None:
        """Parameters in fp32, optimiser, schedule, figures and random state, whole or not at all."""
        assert self.optimizer is not None
        if not self._ranks.alone:
            trained = {name: each.detach() for name, each in self._parameters.items()}
            self._ranks.agree("what they trained", sha256_tensors(trained).encode())
        if not self._ranks.first:
            return
        tensors = {"rng.cpu": torch.get_rng_state()}
        if self._settings.device == "cuda":
            tensors["rng.cuda"] = torch.cuda.get_rng_state()
        for name, parameter in self._parameters.items():
            tensors[f"parameter.{name}"] = parameter.detach()
            for key in _MOMENTS:
                tensors[f"{key}.{name}"] = self.optimizer.state[parameter][key]
        write_checkpoint(
            self._output,
            step=self.state.global_step,
            identity=self._identity,
            tensors={name: tensor.cpu().contiguous() for name, tensor in tensors.items()},
            facts=Facts(
                tuple(self._losses),
                tuple(self._grad_norms),
                self._tokens,
                self.lr_scheduler.state_dict(),
            ),
            trainer_state=json.dumps(asdict(self.state)),
        )

    def _load_from_checkpoint(
        self, resume_from_checkpoint: str, model: nn.Module | None = None
    ) -> None:
        """Parameters and figures; what follows the parameters is brought up to date."""
        checkpoint = self._resumed()
        tensors = checkpoint.tensors()
        with torch.no_grad():
            for name, parameter in self._parameters.items():
                parameter.copy_(tensors[f"parameter.{name}"])
        self._after_step()
        self._losses = list(checkpoint.facts.losses)
        self._grad_norms = list(checkpoint.facts.grad_norms)
        self._tokens = checkpoint.facts.tokens

    def _load_optimizer_and_scheduler(self, checkpoint: str | None) -> None:
        """Optimiser and schedule, exactly as they were."""
        if checkpoint is None:
            return
        assert self.optimizer is not None
        tensors = self._resumed().tensors()
        for name, parameter in self._parameters.items():
            self.optimizer.state[parameter] = {
                key: tensors[f"{key}.{name}"].to(parameter.device) for key in _MOMENTS
            }
        self.lr_scheduler.load_state_dict(self._resumed().facts.schedule)
        rates = self.lr_scheduler.get_last_lr()
        for group, rate in zip(self.optimizer.param_groups, rates, strict=True):
            group["lr"] = rate

    def _load_rng_state(self, checkpoint: str | None) -> None:
        """Torch's random state; no part of our training draws from it, a foreign model might."""
        if checkpoint is None:
            return
        tensors = self._resumed().tensors()
        torch.set_rng_state(tensors["rng.cpu"])
        if "rng.cuda" in tensors and self._settings.device == "cuda":
            torch.cuda.set_rng_state(tensors["rng.cuda"])

    def _resumed(self) -> Checkpoint:
        assert self._checkpoint is not None
        return self._checkpoint


@contextmanager
def _global_random_state_kept() -> Iterator[None]:
    """Trainer seeds the global generators; whoever calls us keeps theirs."""
    python, legacy = random.getstate(), np.random.get_state()  # noqa: NPY002
    with torch.random.fork_rng(devices=[]):
        try:
            yield
        finally:
            random.setstate(python)
            np.random.set_state(legacy)  # noqa: NPY002


class _Rows(torch.utils.data.Dataset[EncodedRow]):
    def __init__(self, rows: Sequence[EncodedRow]) -> None:
        self._rows = rows

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, index: int) -> EncodedRow:
        return self._rows[index]


def _identity(
    settings: PhaseSettings,
    groups: Sequence[ParameterGroup],
    rows: Sequence[EncodedRow],
    context: str,
    ranks: Ranks,
) -> str:
    """Digest of what decides a phase's bits: settings, rows, first values, runtime, and the context.

    Sums are split over the threads and the processes, so their numbers count. How often it is saved
    decides nothing.
    """
    facts = asdict(settings)
    del facts["save_steps"]
    values, data = hashlib.sha256(), hashlib.sha256()
    for group in groups:
        for name, parameter in group.parameters.items():
            values.update(f"{name}|{tuple(parameter.shape)}|{group.learning_rate}".encode())
            values.update(parameter.detach().float().cpu().numpy().tobytes())
    for row in rows:
        labels = np.asarray(row.labels, dtype=np.int64)
        data.update(f"{row.id}|{len(row.input_ids)}|{labels.shape}".encode())
        data.update(np.asarray(row.input_ids, dtype=np.int64).tobytes() + labels.tobytes())
    parts = {"values": values.hexdigest(), "rows": data.hexdigest(), "context": context}
    runtime = {**fingerprint(), "threads": str(torch.get_num_threads()), "step": _ARITHMETIC}
    if not ranks.alone:
        runtime["processes"] = str(ranks.count)
    return sha256_json({"settings": facts, "runtime": runtime, **parts})


def _keeps_logits(model: nn.Module) -> bool:
    """Whether the model can compute logits at chosen positions alone."""
    base = model.get_base_model() if isinstance(model, PeftModel) else model
    assert isinstance(base, PreTrainedModel)
    return "logits_to_keep" in inspect.signature(base.forward).parameters
