import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from lori_core.adapters import adapter_shapes, attach
from lori_core.base import load_causal, load_encoder
from lori_core.config import AdapterConfig, BaseConfig
from lori_core.effective import load_effective
from lori_core.errors import BadInput
from lori_core.export import (
    export_peft,
    head_modules,
    peft_config,
    read_export,
    read_export_config,
    vllm_line,
)
from lori_core.heads import head_state
from lori_core.runtime import reference_runtime
from lori_core.shared_adapter import EffectiveAdapter, SharedAdapter
from tests.lori_core.adapter_cases import bert_folder, llama_folder, probe_rows, random_sequence

ADAPTER = AdapterConfig(r=4, lora_alpha=6.0, tasks_planned=3)

FRESH = """
import json, sys
import numpy as np, torch
from peft import PeftModel
import transformers
torch.set_num_threads(1)
kind, base, folder, rows, out, labels = sys.argv[1:]
options = {"num_labels": int(labels)} if int(labels) else {}
model = getattr(transformers, kind).from_pretrained(
    base, dtype=torch.float32, attn_implementation="eager", **options)
model = PeftModel.from_pretrained(model, folder).eval()
assert not any(name.startswith(("lori_core", "flows", "registry")) for name in sys.modules)
with torch.inference_mode():
    logits = [model(input_ids=torch.tensor([ids])).logits[0].numpy() for ids in json.loads(rows)]
np.savez(out, *logits)
"""


def fresh_process(
    kind: str, base: BaseConfig, folder: Path, tmp_path: Path, labels: int = 0
) -> list[np.ndarray]:
    """Logits of the exported folder in a process of its own that knows only PEFT."""
    rows, out = json.dumps([row.input_ids for row in probe_rows()]), tmp_path / "logits.npz"
    done = subprocess.run(
        [sys.executable, "-c", FRESH, kind, base.path, str(folder), rows, str(out), str(labels)],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "missing adapter keys" not in done.stderr, done.stderr
    return list(np.load(out).values())


def our_logits(model: torch.nn.Module) -> list[np.ndarray]:
    with reference_runtime(), torch.inference_mode():
        return [
            model(input_ids=torch.tensor([r.input_ids])).logits[0].numpy() for r in probe_rows()
        ]


def exported_llama(tmp_path: Path, adapter: AdapterConfig) -> tuple[EffectiveAdapter, Path]:
    base = llama_folder(tmp_path / "base")
    shapes = adapter_shapes(load_causal(base), adapter)
    shared = random_sequence(shapes, adapter, 3)
    effective = shared.effective(2, 3, adapter.read)
    export_peft(
        effective, base=base.path, adapter=adapter, family="causal", directory=tmp_path / "out"
    )
    return effective, tmp_path / "out"


@pytest.mark.parametrize(
    "adapter",
    [ADAPTER, AdapterConfig(r=3, lora_alpha=7.0, target_modules=("v_proj", "down_proj"))],
    ids=["all-linear", "named"],
)
def test_plain_peft_in_a_fresh_process_computes_the_very_logits_of_a_causal_adapter(
    adapter: AdapterConfig, tmp_path: Path
) -> None:
    effective, folder = exported_llama(tmp_path, adapter)
    base = BaseConfig(path=str(tmp_path / "base"))
    model = attach(load_causal(base), adapter, seed=adapter.seed)
    plain = our_logits(model)
    load_effective(model, effective)
    ours = our_logits(model)
    theirs = fresh_process("AutoModelForCausalLM", base, folder, tmp_path)
    assert max(float(np.abs(a - b).max()) for a, b in zip(ours, theirs, strict=True)) == 0.0
    assert min(float(np.abs(a - b).max()) for a, b in zip(ours, plain, strict=True)) > 1e-3


def test_plain_peft_in_a_fresh_process_computes_the_very_logits_of_an_encoder_and_its_head(
    tmp_path: Path,
) -> None:
    base = bert_folder(tmp_path / "base")  # stored in fp16
    model = attach(load_encoder(base, 3, seed=0), ADAPTER, seed=0)
    head = {name: torch.randn_like(tensor) for name, tensor in head_state(model).items()}
    shapes = adapter_shapes(model, ADAPTER)
    shared = random_sequence(shapes, ADAPTER, 2, head=head, labels=("a", "b", "c"))
    effective = shared.effective(2, 2, "inherited")
    export_peft(
        effective, base=base.path, adapter=ADAPTER, family="encoder", directory=tmp_path / "out"
    )
    load_effective(model, effective)
    ours = our_logits(model)
    theirs = fresh_process(
        "AutoModelForSequenceClassification", base, tmp_path / "out", tmp_path, labels=3
    )
    assert max(float(np.abs(a - b).max()) for a, b in zip(ours, theirs, strict=True)) == 0.0
    config = json.loads((tmp_path / "out" / "adapter_config.json").read_text())
    assert config["modules_to_save"] == ["bert.pooler", "classifier"]
    assert json.loads((tmp_path / "out" / "lori.json").read_text())["labels"] == ["a", "b", "c"]


def test_the_folder_is_the_common_denominator_of_all_consumers(tmp_path: Path) -> None:
    _, folder = exported_llama(tmp_path, ADAPTER)
    names = load_file(folder / "adapter_model.safetensors")
    assert all(n.startswith("base_model.model.model.layers.") for n in names)
    assert all(n.endswith((".lora_A.weight", ".lora_B.weight")) for n in names)
    config = json.loads((folder / "adapter_config.json").read_text())
    assert config["peft_type"] == "LORA"
    assert config["task_type"] == "CAUSAL_LM"
    assert (config["r"], config["lora_alpha"], config["bias"]) == (4, 6, "none")
    assert config["target_modules"] == [
        "down_proj", "gate_proj", "k_proj", "o_proj", "q_proj", "up_proj", "v_proj",
    ]  # fmt: skip
    assert config["modules_to_save"] is None
    assert config["use_dora"] is config["use_rslora"] is False
    assert config["rank_pattern"] == config["alpha_pattern"] == {}


def test_equal_adapters_export_to_equal_bytes_and_read_back_to_the_bit(tmp_path: Path) -> None:
    effective, folder = exported_llama(tmp_path, ADAPTER)
    again = export_peft(
        effective, base="base", adapter=ADAPTER, family="causal", directory=tmp_path / "again"
    )
    twice = export_peft(
        effective, base="base", adapter=ADAPTER, family="causal", directory=tmp_path / "twice"
    )
    assert again == twice
    tensors = read_export(folder)
    for layer, b in effective.b.items():
        assert torch.equal(tensors[f"{layer}.lora_B"], b)
        assert torch.equal(tensors[f"{layer}.lora_A"], effective.a[layer])


def test_the_settings_that_are_certified_are_those_of_the_folder(tmp_path: Path) -> None:
    effective, folder = exported_llama(tmp_path, ADAPTER)
    assert read_export_config(folder) == peft_config(effective, ADAPTER.lora_alpha, "causal")
    (folder / "adapter_config.json").write_text("{")
    with pytest.raises(BadInput, match="a PEFT adapter's settings"):
        read_export_config(folder)


def test_an_adapter_is_not_exported_with_another_scale(tmp_path: Path) -> None:
    effective, _ = exported_llama(tmp_path, ADAPTER)
    other = AdapterConfig(r=4, lora_alpha=7.0)
    with pytest.raises(ValueError, match="settings"):
        export_peft(effective, base="b", adapter=other, family="causal", directory=tmp_path / "x")


def test_an_unwritable_place_is_bad_input(tmp_path: Path) -> None:
    effective, _ = exported_llama(tmp_path, ADAPTER)
    (tmp_path / "file").write_text("x")
    with pytest.raises(BadInput, match="cannot be written"):
        export_peft(
            effective, base="b", adapter=ADAPTER, family="causal", directory=tmp_path / "file" / "x"
        )


def test_a_folder_without_a_whole_adapter_is_bad_input(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="cannot be read"):
        read_export(tmp_path)


@pytest.mark.parametrize(
    ("head", "layers", "expected"),
    [
        (["bert.pooler.dense.weight", "bert.pooler.dense.bias", "classifier.weight"], ["bert.encoder.layer.0.output.dense"], ["bert.pooler", "classifier"]),
        (["classifier.dense.weight", "classifier.out_proj.bias"], ["roberta.encoder.layer.0.output.dense"], ["classifier"]),
        (["pre_classifier.weight", "classifier.bias"], ["distilbert.transformer.layer.0.ffn.lin1"], ["pre_classifier", "classifier"]),
    ],
    ids=["bert", "roberta", "distilbert"],
)  # fmt: skip
def test_a_heads_modules_are_the_topmost_without_adapted_layers(
    head: list[str], layers: list[str], expected: list[str]
) -> None:
    assert head_modules(head, layers) == expected


@pytest.mark.parametrize(("r", "rank"), [(4, 8), (8, 8), (32, 32), (33, 64), (300, 320)])
def test_the_vllm_line_names_a_rank_vllm_knows(r: int, rank: int) -> None:
    line = vllm_line(base="meta/llama 3", task="math", directory=Path("/tmp/out"), r=r)
    assert line == (
        f"vllm serve 'meta/llama 3' --enable-lora --max-lora-rank {rank} "
        "--lora-modules math=/tmp/out"
    )


def test_a_rank_beyond_vllm_is_refused() -> None:
    with pytest.raises(BadInput, match="512"):
        vllm_line(base="b", task="t", directory=Path("x"), r=513)


def test_an_export_of_the_base_itself_changes_nothing(tmp_path: Path) -> None:
    base = llama_folder(tmp_path / "base")
    model = attach(load_causal(base), ADAPTER, seed=0)
    before = our_logits(model)
    shared: SharedAdapter = random_sequence(adapter_shapes(model, ADAPTER), ADAPTER, 1)
    load_effective(model, shared.effective(1, 0, "isolated"))
    assert all(np.array_equal(a, b) for a, b in zip(before, our_logits(model), strict=True))
