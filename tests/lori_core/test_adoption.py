"""An adopted LoRA is what PEFT computes, to the bit; what is no plain LoRA is refused by name."""

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from peft import PeftModel
from transformers import AutoModelForCausalLM, AutoModelForSequenceClassification

from lori_core.adapters import adapter_shapes, attach
from lori_core.adoption import adopt_task, adopted_head, refuse_foreign_layers
from lori_core.base import load_causal, load_encoder
from lori_core.config import AdapterConfig, BaseConfig
from lori_core.effective import load_effective
from lori_core.errors import BadInput
from lori_core.heads import head_state, pretrained_head
from lori_core.peft_folder import read_peft_folder
from lori_core.runtime import reference_runtime
from lori_core.shared_adapter import SharedAdapter, TaskAdapter
from tests.lori_core.adapter_cases import bert_folder, llama_folder, probe_rows
from tests.lori_core.peft_cases import (
    CONFIG,
    WEIGHTS,
    edited,
    peft_classifier,
    peft_lora,
    rewritten,
)


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("llama")
    llama_folder(folder)
    return folder


@pytest.fixture(scope="module")
def made(base: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return peft_lora(base, tmp_path_factory.mktemp("loras") / "plain")


@pytest.fixture
def lora(made: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(made, tmp_path / "lora"))


def adapter_of(folder: Path, targets: tuple[str, ...] | None = None) -> AdapterConfig:
    found = read_peft_folder(folder)
    return AdapterConfig(
        r=found.r,
        lora_alpha=found.lora_alpha,
        target_modules=targets or found.targets,
        protection="separate",
        read="isolated",
        method="lora",
    )


def adopted(folder: Path, base: Path, adapter: AdapterConfig) -> TaskAdapter:
    shapes = adapter_shapes(load_causal(BaseConfig(path=str(base))), adapter)
    return adopt_task(
        read_peft_folder(folder),
        task="math",
        position=1,
        adapter=adapter,
        shapes=shapes,
        base_digest="base",
    )


def gap(theirs: torch.nn.Module, ours: torch.nn.Module) -> float:
    with reference_runtime(), torch.inference_mode():
        return max(
            float((theirs(input_ids=ids).logits - ours(input_ids=ids).logits).abs().max())
            for ids in (torch.tensor([row.input_ids]) for row in probe_rows())
        )


@pytest.mark.parametrize("dtype", [None, torch.float16, torch.bfloat16])
@pytest.mark.parametrize("dropout", [0.0, 0.1])
def test_an_adopted_lora_computes_what_the_folder_computes_to_the_bit(
    base: Path, tmp_path: Path, dtype: torch.dtype | None, dropout: float
) -> None:
    folder = peft_lora(base, tmp_path / "lora", dtype=dtype, lora_dropout=dropout)
    adapter = adapter_of(folder)
    plain = AutoModelForCausalLM.from_pretrained(
        base, dtype=torch.float32, attn_implementation="eager"
    )
    theirs = PeftModel.from_pretrained(plain, str(folder)).eval()
    ours = attach(load_causal(BaseConfig(path=str(base))), adapter, seed=0)
    assert gap(theirs, ours) > 1e-3
    load_effective(
        ours, SharedAdapter((adopted(folder, base, adapter),)).effective(1, 1, "isolated")
    )
    assert gap(theirs, ours) == 0.0


def test_layers_the_folder_leaves_alone_stay_the_bases(base: Path, tmp_path: Path) -> None:
    folder = peft_lora(base, tmp_path / "lora", layers_to_transform=[1], target_modules=["v_proj"])
    adapter = adapter_of(folder, targets=("q_proj", "v_proj"))
    ours = attach(load_causal(BaseConfig(path=str(base))), adapter, seed=0)
    load_effective(
        ours, SharedAdapter((adopted(folder, base, adapter),)).effective(1, 1, "isolated")
    )
    plain = AutoModelForCausalLM.from_pretrained(
        base, dtype=torch.float32, attn_implementation="eager"
    )
    assert gap(PeftModel.from_pretrained(plain, str(folder)).eval(), ours) == 0.0


def test_an_encoders_head_goes_with_its_lora(tmp_path: Path) -> None:
    base = bert_folder(tmp_path / "bert", dtype=torch.float32)
    folder = peft_classifier(Path(base.path), tmp_path / "lora")
    found = read_peft_folder(folder)
    assert found.kind == "encoder"
    assert found.head == ("classifier.bias", "classifier.weight")
    bare = load_encoder(base, 3, 0)
    adapter = adapter_of(folder)
    task = adopt_task(
        found,
        task="topic",
        position=1,
        adapter=adapter,
        shapes=adapter_shapes(bare, adapter),
        base_digest="base",
        head=adopted_head(found, head_state(bare), pretrained_head(bare)),
        labels=("a", "b", "c"),
    )
    ours = attach(bare, adapter, seed=0)
    load_effective(ours, SharedAdapter((task,)).effective(1, 1, "isolated"))
    plain = AutoModelForSequenceClassification.from_pretrained(
        base.path, num_labels=3, dtype=torch.float32, attn_implementation="eager"
    )
    assert gap(PeftModel.from_pretrained(plain, str(folder)).eval(), ours) == 0.0
    with pytest.raises(BadInput, match=r"has no bert\.pooler"):
        adopted_head(found, head_state(bare), {})


def without_weights(folder: Path) -> None:
    (folder / WEIGHTS).rename(folder / "adapter_model.bin")


def cut(folder: Path) -> None:
    (folder / WEIGHTS).write_bytes((folder / WEIGHTS).read_bytes()[:-20])


REFUSED: dict[str, tuple[Callable[[Path], object], str]] = {
    "a pickle": (without_weights, "pickle"),
    "no weights": (lambda f: (f / WEIGHTS).unlink(), f"has no {WEIGHTS}"),
    "cut weights": (cut, "not a whole safetensors file"),
    "no settings": (lambda f: (f / CONFIG).unlink(), f"has no {CONFIG}"),
    "settings that are no JSON": (lambda f: (f / CONFIG).write_text("{"), "is not JSON"),
    "DoRA": (lambda f: edited(f, use_dora=True), "DoRA"),
    "rsLoRA": (lambda f: edited(f, use_rslora=True), "rsLoRA"),
    "a bias": (lambda f: edited(f, bias="lora_only"), "biases"),
    "a bias in B": (lambda f: edited(f, lora_bias=True), "a bias in B"),
    "a whole module": (lambda f: edited(f, modules_to_save=["lm_head"]), "lm_head"),
    "new tokens": (lambda f: edited(f, trainable_token_indices=[3]), "trainable_token_indices"),
    "PiSSA": (lambda f: edited(f, init_lora_weights="pissa"), "pissa"),
    "another method": (lambda f: edited(f, peft_type="IA3"), "IA3"),
    "another rank in places": (lambda f: edited(f, rank_pattern={"q_proj": 8}), "rank_pattern"),
    "a setting of tomorrow": (lambda f: edited(f, use_wonder=True), "use_wonder is on"),
    "another rank than it says": (lambda f: edited(f, r=8), "rank 8"),
    "no rank": (lambda f: edited(f, r=0), "r is 0"),
    "an embedding": (
        lambda f: rewritten(
            f, lambda t: t.update({"base_model.model.lm_head.weight": torch.ones(2)})
        ),
        "lm_head",
    ),
    "a magnitude": (
        lambda f: rewritten(
            f, lambda t: t.update({"x.lora_magnitude_vector.weight": torch.ones(2)})
        ),
        "lora_magnitude_vector",
    ),
    "half a layer": (lambda f: rewritten(f, lambda t: t.pop(sorted(t)[0])), r"lora_A is \(\)"),
    "quantised numbers": (
        lambda f: rewritten(f, lambda t: t.update({n: v.to(torch.int8) for n, v in t.items()})),
        "is I8",
    ),
}


@pytest.mark.parametrize("fault", REFUSED)
def test_what_is_no_plain_lora_is_refused_in_one_line(lora: Path, fault: str) -> None:
    spoil, named = REFUSED[fault]
    spoil(lora)
    with pytest.raises(BadInput, match=named) as refusal:
        read_peft_folder(lora)
    assert str(refusal.value).count("\n") == 0


def test_what_does_not_fit_the_base_or_the_sequence_is_refused(
    base: Path, lora: Path, tmp_path: Path
) -> None:
    adapter = adapter_of(lora)
    shapes = adapter_shapes(load_causal(BaseConfig(path=str(base))), adapter)
    found = read_peft_folder(lora)
    wide = {layer: (d_out, d_in + 1) for layer, (d_out, d_in) in shapes.items()}
    for other, settings, named in (
        (wide, adapter, "It was made for another base"),
        (dict(list(shapes.items())[1:]), adapter, "adapts layer"),
        (shapes, replace(adapter, lora_alpha=12.0), "lora_alpha 12"),
        (shapes, replace(adapter, r=8), "r 8"),
    ):
        with pytest.raises(BadInput, match=named):
            adopt_task(found, task="t", position=1, adapter=settings, shapes=other, base_digest="b")
    with pytest.raises(BadInput, match="no linear layer of this base's blocks"):
        refuse_foreign_layers(found, {"elsewhere": (1, 1)})
    rewritten(lora, lambda t: t.update({n: v * float("nan") for n, v in t.items()}))
    with pytest.raises(BadInput, match="NaN"):
        adopted(lora, base, adapter)
