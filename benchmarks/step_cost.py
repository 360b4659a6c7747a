"""What a training step costs: frozen base, PEFT LoRA, LoRI-D, LoRI-S, interleaved in one run.

    python -m benchmarks.step_cost

A random Llama of 33 M parameters (nothing is learned here; the arithmetic is the same). Process
CPU seconds of both threads, because wall time on a shared machine says little. The floor is the
frozen base: forward, and backward through its activations, which every adapter has to pay.
"""

import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import torch
from peft import PeftModel
from torch import Tensor, nn
from transformers import LlamaConfig, LlamaForCausalLM

from benchmarks.memory import step_peak_bytes
from benchmarks.results import Result, compared, write_results
from lori_core.adapters import adapter_shapes, attach, lora_layers, read_b
from lori_core.config import AdapterConfig
from lori_core.masks import magnitude_masks
from lori_core.packed import PackedB
from lori_core.step_form import step_form

ROWS, LENGTH, WARM_UP, STEPS, ROUNDS = 4, 128, 2, 4, 5


@dataclass(frozen=True)
class Variant:
    """One way to train, ready to step."""

    name: str
    step: Callable[[], None]
    optimiser: torch.optim.Optimizer | None


def base_model() -> LlamaForCausalLM:
    """The base of every variant: the same bits each time."""
    torch.manual_seed(0)
    config = LlamaConfig(
        hidden_size=576,
        intermediate_size=1536,
        num_hidden_layers=8,
        num_attention_heads=12,
        num_key_value_heads=4,
        vocab_size=4096,
        use_cache=False,
    )
    return LlamaForCausalLM(config).requires_grad_(False)


def batch() -> dict[str, Tensor]:
    """Four rows of 128 tokens, every token learned."""
    ids = torch.randint(0, 4096, (ROWS, LENGTH), generator=torch.Generator().manual_seed(1))
    return {"input_ids": ids, "labels": ids}


def floor() -> Variant:
    """The frozen base: forward, and backward through the activations."""
    model = base_model()
    model.enable_input_require_grads()
    inputs = batch()
    return Variant("frozen base (floor)", lambda: model(**inputs).loss.backward(), None)


def plain_lora(adapter: AdapterConfig) -> Variant:
    """PEFT LoRA: A and B train, fused AdamW."""
    model = attach(base_model(), adapter, seed=0)
    for layer in lora_layers(model).values():
        layer.lora_A["default"].weight.requires_grad_(True)
    trained = [p for p in model.parameters() if p.requires_grad]
    return stepping("PEFT LoRA, fused AdamW", model, trained, lambda: None)


def lori(adapter: AdapterConfig, sparsity: float | None) -> Variant:
    """LoRI through the packed optimiser: dense without a sparsity, masked with one."""
    model = attach(base_model(), adapter, seed=0)
    masks = None
    if sparsity is not None:
        generator = torch.Generator().manual_seed(2)
        scores = {
            name: torch.randn(b.shape, generator=generator) for name, b in read_b(model).items()
        }
        masks = magnitude_masks(scores, sparsity=sparsity)
    packed = PackedB(model, masks)
    model.register_parameter("lori_values", packed.values)
    name = "LoRI-D" if sparsity is None else f"LoRI-S ({sparsity:g})"
    return stepping(name, model, [packed.values], packed.push, form=lambda: step_form(model))


def stepping(
    name: str,
    model: PeftModel,
    trained: list[nn.Parameter],
    after: Callable[[], None],
    form: Callable[[], AbstractContextManager[None]] = nullcontext,
) -> Variant:
    """A variant that trains `trained` with fused AdamW under one gradient clip.

    `form` is how its layers are computed: ours as our training computes them, PEFT's as PEFT does.
    """
    optimiser = torch.optim.AdamW(trained, lr=1e-4, weight_decay=0.0, fused=True)
    inputs = batch()

    def step() -> None:
        with form():
            model(**inputs).loss.backward()
        torch.nn.utils.clip_grad_norm_(trained, 1.0)
        optimiser.step()
        after()
        optimiser.zero_grad(set_to_none=True)

    return Variant(name, step, optimiser)


def state_bytes(variant: Variant) -> int:
    """Bytes of the optimiser's moments."""
    if variant.optimiser is None:
        return 0
    return sum(
        value.numel() * value.element_size()
        for state in variant.optimiser.state.values()
        for value in state.values()
        if isinstance(value, Tensor)
    )


def artifact_bytes(adapter: AdapterConfig, sparsity: float) -> tuple[int, int]:
    """Bytes of the plain PEFT adapter and of LoRI's values and bit mask, both in fp32."""
    shapes = adapter_shapes(base_model(), adapter).values()
    a_and_b = sum((d_out + d_in) * adapter.r for d_out, d_in in shapes)
    entries = sum(d_out * adapter.r for d_out, _ in shapes)
    return 4 * a_and_b, 4 * round((1 - sparsity) * entries) + (entries + 7) // 8


def main() -> list[Result]:
    """Measure, write benchmarks/results/step_cost.json, return the rows."""
    adapter = AdapterConfig(r=32, lora_alpha=64)
    variants = [floor(), plain_lora(adapter), lori(adapter, None), lori(adapter, 0.9)]
    seconds: dict[str, list[float]] = {v.name: [] for v in variants}
    for variant in variants:
        for _ in range(WARM_UP):
            variant.step()
    for _ in range(ROUNDS):  # interleaved: what the machine does meanwhile hits all of them
        for variant in variants:
            for _ in range(STEPS):
                before = time.process_time()
                variant.step()
                seconds[variant.name].append(time.process_time() - before)
    peer = variants[1]
    memory = {v.name: step_peak_bytes(v.step) for v in variants}
    rows = []
    for v in variants:
        times = seconds[v.name]
        spread = f"{min(times):.2f} to {max(times):.2f} s in {len(times)} interleaved steps"
        middle = median(seconds[peer.name])
        rows.append(
            compared(
                f"step, {v.name}",
                median(times),
                "CPU s",
                peer=peer.name,
                peer_value=middle,
                spread=spread,
            )
        )
        rows.append(
            compared(
                f"step memory over resting, {v.name}",
                memory[v.name],
                "bytes",
                peer=peer.name,
                peer_value=memory[peer.name],
                spread="one step",
            )
        )
        rows.append(
            compared(
                f"optimiser state, {v.name}",
                state_bytes(v),
                "bytes",
                peer=peer.name,
                peer_value=state_bytes(peer),
                spread="exact",
            )
        )
    plain, ours = artifact_bytes(adapter, 0.9)
    rows.append(
        compared(
            "artifact, LoRI-S (0.9)",
            ours,
            "bytes",
            peer="PEFT LoRA, fp32",
            peer_value=plain,
            spread="exact",
        )
    )
    path = write_results("step_cost", rows)
    for row in rows:
        print(f"{row.name:45} {row.value:14,.3f} {row.unit:6} {row.ratio:6.3f} x {row.peer}")
    print(f"written to {path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path}")
    return rows


if __name__ == "__main__":
    main()
