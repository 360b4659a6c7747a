"""A filed version as outsiders use it: MLflow's pyfunc, in a fresh process, pickle forbidden."""

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from registry_examples import sequence_record, task_record, version_record

from lori_core.errors import BadInput, DigestMismatch
from registry.artifacts import stored_files
from registry.served import open_served
from registry.store import open_registry

ROOT = Path(__file__).parents[2]
PROMPTS = ["a b c", "c b a d"]


def make_base(folder: Path) -> None:
    """A random Llama of a few thousand weights, and a tokenizer of eight words."""
    import torch
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=8,
        hidden_size=16,
        intermediate_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=2,
        max_position_embeddings=64,
        bos_token_id=1,
        eos_token_id=2,
        pad_token_id=0,
    )
    LlamaForCausalLM(config).save_pretrained(folder)
    words = {word: number for number, word in enumerate(["[PAD]", "<s>", "</s>", *"abcde"])}
    core = Tokenizer(models.WordLevel(words, unk_token="a"))
    core.pre_tokenizer = pre_tokenizers.Whitespace()
    PreTrainedTokenizerFast(
        tokenizer_object=core, bos_token="<s>", eos_token="</s>", pad_token="[PAD]", unk_token="a"
    ).save_pretrained(folder)


def make_adapter(base: Path, folder: Path) -> list[str]:
    """A plain PEFT LoRA with a B that matters; returns its own greedy answers."""
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM, AutoTokenizer

    model = get_peft_model(
        AutoModelForCausalLM.from_pretrained(base),
        LoraConfig(r=2, lora_alpha=64, target_modules=["q_proj", "v_proj", "down_proj"]),
    )
    generator = torch.Generator().manual_seed(1)
    for name, weight in model.named_parameters():
        if "lora_B" in name:
            weight.data = torch.randn(weight.shape, generator=generator)
    model.eval().save_pretrained(folder)
    tokenizer = AutoTokenizer.from_pretrained(base)
    answers = []
    for prompt in PROMPTS:
        given = tokenizer(prompt, return_tensors="pt")
        tokens = model.generate(**given, max_new_tokens=5, do_sample=False)
        fresh = tokens[0, given["input_ids"].shape[1] :]
        answers.append(tokenizer.decode(fresh, skip_special_tokens=True))
    return answers


def predict_in_a_fresh_process(home: Path) -> subprocess.CompletedProcess[str]:
    script = (
        "import json, mlflow, pandas\n"
        "model = mlflow.pyfunc.load_model('models:/lori-assistant/1')\n"
        f"rows = pandas.DataFrame({{'prompt': {PROMPTS!r}}})\n"
        "print(json.dumps(model.predict(rows, params={'max_new_tokens': 5})))\n"
    )
    environment = {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": str(ROOT),
        "MLFLOW_TRACKING_URI": f"sqlite:///{home / 'mlflow.db'}",
        "MLFLOW_ALLOW_PICKLE_DESERIALIZATION": "false",
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "HF_HUB_OFFLINE": "1",
        "OMP_NUM_THREADS": "1",
    }
    return subprocess.run(
        [sys.executable, "-c", script], env=environment, capture_output=True, text=True, check=False
    )


@pytest.mark.slow
def test_a_filed_version_loads_as_a_pyfunc_and_answers_as_plain_peft_does(
    home: Path, tmp_path: Path
) -> None:
    from lori_core.base import identify_base

    base, files = tmp_path / "base", tmp_path / "files"
    make_base(base)
    expected = make_adapter(base, files / "adapter")
    identity = identify_base(base, None, "float32")
    with open_registry(home) as registry:
        registry.declare_sequence(
            replace(sequence_record(), base_path=str(base), base_digest=identity.digest)
        )
        registry.declare_task("assistant", task_record(1))
        registry.file_version(version_record(1), files)
        stored = registry.artifact_path("assistant", 1).parents[1]

    assert not list(stored.rglob("*.pkl"))
    assert not (stored / "artifacts" / "version" / "model.safetensors").exists()
    done = predict_in_a_fresh_process(home)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout.splitlines()[-1]) == expected

    manifest = json.loads((stored / "artifacts" / "manifest.json").read_text())
    version = stored / "artifacts" / "version"
    config = version / "adapter" / "adapter_config.json"
    whole = config.read_text()
    config.write_text(whole + " ")
    with pytest.raises(DigestMismatch, match=r"assistant/1: adapter/adapter_config\.json"):
        open_served(manifest, version)
    config.write_text(whole)

    weights = base / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1] + b"\x01")
    with pytest.raises(DigestMismatch, match=r"assistant/1: the base at"):
        open_served(manifest, version)


def test_a_version_without_a_plain_adapter_says_so(files: Path) -> None:
    (files / "adapter" / "adapter_config.json").unlink()
    manifest = {
        "sequence": "assistant",
        "version": 1,
        "files": {f.path: {"sha256": f.sha256, "size": f.size} for f in stored_files(files)},
    }
    with pytest.raises(BadInput, match="a plain PEFT folder `adapter/`"):
        open_served(manifest, files)
