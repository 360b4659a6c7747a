"""Somebody's LoRAs as versions: through the real command, on a tiny base."""

import io
import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from click.testing import CliRunner
from safetensors.numpy import save_file

from flows.adopting import Adoption, plan_adoption
from flows.adopting_run import _Work
from flows.cli import lori
from flows.progress import Narrator
from flows.reporter import Reporter
from flows.stage_process import StageProcess
from lori_core.errors import BadInput
from lori_core.peft_folder import read_peft_folder
from tests.flows.conftest import HOW, Lab
from tests.flows.tiny import rows, write_rows, write_sequence

if TYPE_CHECKING:
    from lori_core.shared_adapter import TaskAdapter


def a_lora(folder: Path, **settings: object) -> Path:
    """A PEFT folder by hand, so that the light tests need no torch."""
    folder.mkdir(parents=True)
    random = np.random.default_rng(3)
    tensors = {}
    for layer in range(2):
        for name in ("q_proj", "v_proj"):
            at = f"base_model.model.model.layers.{layer}.self_attn.{name}"
            tensors[f"{at}.lora_A.weight"] = random.normal(size=(4, 64)).astype(np.float32)
            tensors[f"{at}.lora_B.weight"] = random.normal(size=(64, 4)).astype(np.float32)
    save_file(tensors, folder / "adapter_model.safetensors")
    plain = {"peft_type": "LORA", "task_type": "CAUSAL_LM", "r": 4, "lora_alpha": 8, "bias": "none"}
    (folder / "adapter_config.json").write_text(json.dumps({**plain, **settings}))
    return folder


def json_of(lab: Lab, *arguments: str) -> object:
    answer = lab.lori(*arguments, "--json")
    assert answer.returncode == 0, answer.stderr
    return json.loads(answer.stdout)


LIGHT: dict[str, tuple[dict[str, object], tuple[str, ...], str]] = {
    "DoRA": ({"use_dora": True}, (), "DoRA"),
    "rsLoRA": ({"use_rslora": True}, (), "rsLoRA"),
    "biases": ({"bias": "all"}, (), "biases"),
    "modules": ({"modules_to_save": ["embed_tokens"]}, (), "embed_tokens"),
    "a classifier": ({"task_type": "SEQ_CLS"}, (), "family encoder"),
    "no such guard": ({}, ("--guards", "safety"), "'safety' is no task"),
    "no metric": ({}, ("--metric", "bleu"), "bleu"),
    "refusal alone": ({}, ("--metric", "refusal"), "over_refusal"),
    "code": ({}, ("--metric", "pass_at_k"), "allow_code_execution"),
    "too many tokens": ({}, ("--max-new-tokens", "64"), "less than 64"),
    "a name with a path": ({}, ("--task", "../x"), "task name"),
}


@pytest.mark.parametrize("fault", LIGHT)
def test_a_mistake_is_one_line_and_leaves_nothing(
    tmp_path: Path, fault: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings, options, named = LIGHT[fault]
    monkeypatch.setenv("LORI_HOME", str(tmp_path / "home"))
    lora = a_lora(tmp_path / "lora", **settings)
    (tmp_path / "base").mkdir()
    (tmp_path / "base" / "config.json").write_text(
        json.dumps(
            {
                "model_type": "llama",
                "architectures": ["LlamaForCausalLM"],
                "max_position_embeddings": 64,
            }
        )
    )
    test = write_rows(tmp_path / "test.jsonl", rows("color", "test", 8))
    given = ["--as", "team", "--base", str(tmp_path / "base"), "--test", str(test), *options]
    answer = CliRunner().invoke(lori, ["adopt", str(lora), *given])
    assert answer.exit_code == 2, answer.output
    assert named in answer.stderr
    assert answer.stderr.count("\n") == 1
    assert answer.stdout == ""
    assert not (tmp_path / "home").exists()


def test_a_pickle_is_never_opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LORI_HOME", str(tmp_path / "home"))
    lora = a_lora(tmp_path / "lora")
    (lora / "adapter_model.safetensors").rename(lora / "adapter_model.bin")
    answer = CliRunner().invoke(lori, ["adopt", str(lora), "--as", "team", "--test", "x.jsonl"])
    assert (answer.exit_code, "pickle" in answer.stderr) == (2, True)


@pytest.mark.slow
def test_an_adopted_lora_is_a_version_like_any_other(adopted_once: Lab) -> None:
    versions = json_of(adopted_once, "versions", "team")
    assert isinstance(versions, list)
    assert [(v["version"], v["task"], v["state"], v["certificate"]) for v in versions] == [
        (1, "color", "registered", "G2"),
        (2, "size", "registered", "G2"),
    ]
    matrix = json_of(adopted_once, "matrix", "team")
    assert isinstance(matrix, dict)
    assert matrix["read"] == "isolated"
    assert [len([c for c in row["cells"] if c]) for row in matrix["rows"]] == [2, 2, 2]
    assert matrix["summary"]["forgetting"] == 0.0
    assert "guard color under size" in adopted_once.lori("matrix", "team").stdout
    verified = json_of(adopted_once, "verify", "team")
    assert isinstance(verified, dict)
    assert verified["ok"]


SAME = """
import sys, torch
from peft import PeftModel
from transformers import AutoModelForCausalLM
torch.set_num_threads(1)
base, *folders = sys.argv[1:]
def logits(folder):
    model = AutoModelForCausalLM.from_pretrained(base, attn_implementation="eager")
    model = PeftModel.from_pretrained(model, folder).eval()
    with torch.inference_mode():
        return model(input_ids=torch.arange(30).reshape(2, 15)).logits
first, second = map(logits, folders)
print(float((first - second).abs().max()), float(first.abs().max()))
"""


@pytest.mark.slow
def test_what_is_exported_has_the_logits_of_the_folder_that_was_adopted(adopted: Lab) -> None:
    for task in ("color", "size"):
        answer = adopted.lori("export", "team", task, "--to", f"out/{task}")
        assert answer.returncode == 0, answer.stderr
        told = subprocess.run(
            [sys.executable, "-c", SAME, "base", f"loras/{task}", f"out/{task}"],
            cwd=adopted.folder,
            capture_output=True,
            text=True,
            check=True,
        )
        difference, size = map(float, told.stdout.split())
        assert difference == 0.0
        assert size > 0


@pytest.mark.slow
def test_adopting_again_says_it_is_there_and_changes_nothing(adopted: Lab) -> None:
    before = json_of(adopted, "versions", "team")
    again = adopted.lori("adopt", "loras/color", "--as", "team", "--test", "rows/color.jsonl", *HOW)
    assert again.returncode == 0, again.stderr
    assert "is there already, as team/1" in again.stdout
    renamed = adopted.lori(
        "adopt", "loras/color", "--as", "team", "--task", "hue", "--test", "rows/color.jsonl", *HOW
    )
    assert (renamed.returncode, "already, as team/1" in renamed.stderr) == (2, True)
    assert json_of(adopted, "versions", "team") == before


@pytest.mark.slow
@pytest.mark.parametrize("when", ["before it is read", "while it is read"])
def test_a_folder_that_changes_under_the_adoption_is_not_adopted(
    workshop: Lab, when: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from flows.stages import adopting

    monkeypatch.chdir(workshop.folder)
    ask = Adoption(
        folder=Path("loras/color"), sequence="team", task="color", base="base",
        test=Path("rows/color.jsonl"), metric="exact_match", max_new_tokens=2,
    )  # fmt: skip
    planned = plan_adoption(ask, read_peft_folder(ask.folder), workshop.home)
    asked: dict[str, Any] = {}

    class Asked(StageProcess):
        def run(self, stage: str, folder: Path, spec: dict[str, Any], *_: object) -> dict[str, Any]:
            asked.update(spec)
            return {}

    with Narrator(quiet=True) as narrator:
        _Work(workshop.home, planned, Asked(workshop.home, "team"), narrator).adopt(())
    loaded = adopting.adopt_task

    def then_changed(*given: Any, **options: Any) -> "TaskAdapter":
        made = loaded(*given, **options)
        other_numbers(workshop)
        return made

    stage = workshop.folder / "stage"
    stage.mkdir()
    if when == "before it is read":
        other_numbers(workshop)
    else:
        monkeypatch.setattr(adopting, "adopt_task", then_changed)
    with pytest.raises(BadInput, match=r"adapter_model.safetensors was changed while"):
        adopting.adopt_stage(asked, stage, Reporter(io.BytesIO()))
    assert list(stage.iterdir()) == []


def another_rank(lab: Lab) -> None:
    shutil.rmtree(lab.folder / "loras/size")
    from tests.lori_core.peft_cases import peft_lora

    peft_lora(lab.folder / "base", lab.folder / "loras/size", r=8, lora_alpha=8)


def another_base(lab: Lab) -> None:
    import torch
    from safetensors.torch import load_file
    from safetensors.torch import save_file as save_torch

    shutil.copytree(lab.folder / "base", lab.folder / "other")
    weights = lab.folder / "other/model.safetensors"
    tensors = load_file(weights)
    tensors["model.norm.weight"] = tensors["model.norm.weight"] + torch.tensor(0.5)
    save_torch(tensors, weights, metadata={"format": "pt"})


def other_numbers(lab: Lab) -> None:
    from tests.lori_core.peft_cases import peft_lora

    shutil.rmtree(lab.folder / "loras/color")
    peft_lora(lab.folder / "base", lab.folder / "loras/color", seed=9, lora_alpha=8)


REFUSED: dict[str, tuple[Callable[[Lab], object], tuple[str, ...], str]] = {
    "another rank": (another_rank, ("loras/size", "--task", "length"), "r 8, lora_alpha 8"),
    "another base": (
        another_base,
        ("loras/size", "--task", "size", "--base", "other"),
        "base is",
    ),
    "other numbers under a known name": (other_numbers, ("loras/color",), "adopted."),
    "other rows under a known name": (
        lambda lab: shutil.copy(lab.folder / "rows/size.jsonl", lab.folder / "rows/color.jsonl"),
        ("loras/color",),
        "test rows: those of task 'color'",
    ),
}


@pytest.mark.slow
@pytest.mark.parametrize("fault", REFUSED)
def test_what_does_not_belong_to_the_sequence_is_refused_by_name(adopted: Lab, fault: str) -> None:
    spoil, options, named = REFUSED[fault]
    before = json_of(adopted, "versions", "team")
    spoil(adopted)
    rows_of = "color" if "color" in options[0] else "size"
    answer = adopted.lori(
        "adopt", *options, "--as", "team", "--test", f"rows/{rows_of}.jsonl", *HOW
    )
    assert answer.returncode == 2, answer.stdout
    assert named in answer.stderr
    assert answer.stderr.count("\n") == 1
    assert json_of(adopted, "versions", "team") == before


@pytest.mark.slow
def test_a_lora_of_another_base_leaves_no_home(workshop: Lab) -> None:
    another_base(workshop)
    answer = workshop.lori(
        "adopt", "loras/color", "--as", "team", "--base", "other", "--test", "rows/color.jsonl",
        *HOW,
    )  # fmt: skip
    assert answer.returncode == 2
    assert "was made for the base" in answer.stderr
    assert answer.stderr.count("\n") == 1
    assert not (workshop.home / "registry.db").exists()


@pytest.mark.slow
def test_an_adopted_version_is_gated_and_promoted_like_any_other(adopted: Lab) -> None:
    report = adopted.lori("gate", "team/1", "--json")
    assert report.returncode in (0, 1), report.stderr
    said = json.loads(report.stdout)
    certificate = next(rule for rule in said["rules"] if rule["rule"] == "certificate")
    assert certificate["ok"]
    promoted = adopted.lori("promote", "team/1", "--reason", "the first")
    assert promoted.returncode == report.returncode, promoted.stderr


@pytest.mark.slow
def test_a_learned_sequence_takes_no_adopted_lora(learned: Lab, tmp_path: Path) -> None:
    lora = a_lora(tmp_path / "lora")
    test = write_rows(tmp_path / "test.jsonl", rows("color", "test", 8))
    answer = learned.lori("adopt", lora, "--as", "tiny", "--test", test, *HOW)
    assert (answer.returncode, "was learned here" in answer.stderr) == (2, True)


@pytest.mark.slow
def test_a_run_does_not_touch_adopted_versions(adopted: Lab) -> None:
    file = write_sequence(adopted.folder, ("color",), name="team")
    answer = adopted.lori("run", file)
    assert answer.returncode == 2
    assert "team" in answer.stderr
