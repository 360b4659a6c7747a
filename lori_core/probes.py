"""Probes: what a model answers to fixed inputs in the reference runtime, to the bit."""

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from jaxtyping import Float
from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import Tensor, nn
from transformers import PreTrainedModel

from lori_core.digests import sha256_json, write_atomic
from lori_core.encoding import EncodedRow
from lori_core.errors import BadInput, CheckFailed
from lori_core.runtime import reference_runtime
from lori_core.tensor_digests import sha256_tensor

PROBES_PER_TASK = 64
"""How many rows of each task are probed."""

TOLERANCE = 1e-4
"""Most a probe logit may differ between two runtimes."""


@dataclass(frozen=True)
class ProbeInput:
    """One fixed input."""

    id: str
    input_ids: tuple[int, ...]
    """Prompt, then completion (causal); the whole text (encoder)."""
    prompt_length: int
    """Tokens of the prompt, at least 1."""


@dataclass(frozen=True, eq=False)
class ProbeResult:
    """What a model answered."""

    digest: str
    """Over ids and the logits of every position that predicts a completion token (causal), or
    the class logits (encoder), of all inputs in order."""
    logits: Float[Tensor, "n classes"]
    """At the last prompt position (causal), or of the classes (encoder); fp32."""


def probe_inputs(
    rows: Sequence[EncodedRow], limit: int = PROBES_PER_TASK
) -> tuple[ProbeInput, ...]:
    """The first `limit` encoded rows as probes."""
    return tuple(ProbeInput(x.id, x.input_ids, max(1, x.prompt_length)) for x in rows[:limit])


def inputs_digest(inputs: Sequence[ProbeInput]) -> str:
    """The sha256 of what is put in: it covers prompt form, tokenizer, chat template and length."""
    return sha256_json([asdict(each) for each in inputs])


def probe(
    model: nn.Module,
    inputs: Sequence[ProbeInput],
    on_progress: Callable[[int], None] | None = None,
) -> ProbeResult:
    """Run the probes one by one: fp32, batch 1, no padding, one thread, dropout off, on the CPU.

    Args:
        model: a causal LM or a sequence classifier, with or without an adapter, on the CPU and
            loaded with eager attention (`base.load_causal`, `base.load_encoder`). What it holds
            in bf16 is held in fp32 meanwhile, to the same numbers.
        inputs: at least one.
        on_progress: called with the number of probes done.

    Raises BadInput when there are no inputs, or the model is not on the CPU or not eager.
    """
    if not inputs:
        raise BadInput("probes: there are none", "at least one row of the task")
    if any(parameter.device.type != "cpu" for parameter in model.parameters()):
        raise BadInput("probes: the model is not on the CPU", "the reference runtime, a CPU")
    for module in model.modules():
        if isinstance(module, PreTrainedModel) and module.config._attn_implementation != "eager":
            raise BadInput(
                f"probes: the model's attention is {module.config._attn_implementation}",
                "eager attention, the reference runtime's",
                "Load it with attn_implementation='eager'.",
            )
    training = model.training
    model.eval()
    digest = hashlib.sha256()
    kept: list[Tensor] = []
    with reference_runtime(), _in_fp32(model), torch.inference_mode():
        for done, row in enumerate(inputs, start=1):
            ids = torch.tensor([row.input_ids])  # (1, tokens)
            output: Tensor = model(input_ids=ids, attention_mask=torch.ones_like(ids)).logits[0]
            logits = output.float().clone()
            if logits.ndim == 2:  # causal: (tokens, vocabulary)
                logits = logits[row.prompt_length - 1 :]
                kept.append(logits[0])
            else:  # encoder: (classes,)
                kept.append(logits)
            digest.update(f"{row.id}|{sha256_tensor(logits)}|".encode())
            if on_progress is not None:
                on_progress(done)
    model.train(training)
    return ProbeResult(digest.hexdigest(), torch.stack(kept).clone())


@contextmanager
def _in_fp32(model: nn.Module) -> Iterator[None]:
    """Hold every bf16 and fp16 tensor of the model in fp32 while the block runs: exact both ways."""
    small = [
        (tensor, tensor.dtype)
        for tensor in (*model.parameters(), *model.buffers())
        if tensor.dtype in (torch.bfloat16, torch.float16)
    ]
    for tensor, _ in small:
        tensor.data = tensor.data.float()
    try:
        yield
    finally:
        for tensor, dtype in small:
            tensor.data = tensor.data.to(dtype)


def logit_gap(
    certified: Float[Tensor, "_n _classes"] | None, digest: str, found: Float[Tensor, "_m _found"]
) -> float:
    """The largest difference between stored probe logits and those found now.

    Raises CheckFailed when the stored ones are not whole (`digest` is their certified sha256) or
    are of another shape: in two runtimes bits may differ, and only stored logits tell how far.
    """
    if certified is None or sha256_tensor(certified) != digest:
        raise CheckFailed("runtime differs", "the certified logits are not stored whole")
    if certified.shape != found.shape:
        raise CheckFailed("runtime differs", "the number of answers differs too")
    return float((certified - found).abs().max())


def save_logits(logits: Mapping[str, Float[Tensor, "_n _classes"]], path: Path) -> None:
    """Store probe logits, task name -> logits: for comparison in another runtime."""
    whole = {task: values.detach().cpu().contiguous() for task, values in logits.items()}
    write_atomic(path, save(whole))


def load_logits(path: Path) -> dict[str, Float[Tensor, "_n _classes"]]:
    """Read what `save_logits` wrote. Raises BadInput when it is not there or not whole."""
    try:
        return load_file(path)
    except (OSError, SafetensorError) as error:
        raise BadInput(
            f"{path}: cannot be read ({error})", "stored probe logits", "Certify again."
        ) from error
