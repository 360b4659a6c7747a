"""A sequence learned for real, and everything that is asked of it afterwards."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from registry.store import open_registry
from tests.flows.conftest import ROOT, TASKS, Lab
from tests.flows.kills import finished_stages
from tests.flows.tiny import rows, write_rows, write_sequence
from tests.made_once import copy_prefect_store

pytestmark = pytest.mark.slow

WaitUntil = Callable[[Callable[[], bool], float], None]


def json_of(lab: Lab, *arguments: str) -> object:
    answer = lab.lori(*arguments, "--json")
    assert answer.returncode == 0, answer.stderr
    return json.loads(answer.stdout)


def test_every_version_is_filed_with_a_certificate_and_digests(learned_once: Lab) -> None:
    versions = json_of(learned_once, "versions", "tiny")
    assert isinstance(versions, list)
    assert [each["task"] for each in versions] == list(TASKS)
    assert [each["version"] for each in versions] == [1, 2, 3]
    for each in versions:
        assert set(each) == {
            "version", "task", "state", "adapter_sha256", "mask_sha256", "certificate",
            "model_version", "aliases", "stale", "gate",
        }  # fmt: skip
        assert each["certificate"] == "G2"
        assert each["state"] == "registered"
        assert each["model_version"] == each["version"]
    assert len({each["adapter_sha256"] for each in versions}) == 3


def test_the_inherited_read_forgets_exactly_nothing_and_the_shape_is_the_promised_one(
    learned_once: Lab,
) -> None:
    matrix = json_of(learned_once, "matrix", "tiny", "--read", "inherited")
    assert isinstance(matrix, dict)
    assert set(matrix) == {"sequence", "read", "tasks", "rows", "summary", "terms"}
    assert matrix["tasks"] == list(TASKS)
    assert [(row["version"], row["task"]) for row in matrix["rows"]] == [
        (0, None), (1, "color"), (2, "size"), (3, "animal"),
    ]  # fmt: skip
    for k, row in enumerate(matrix["rows"]):
        assert all(row["cells"][i] is not None for i in range(min(k, 3)))
        for cell in filter(None, row["cells"]):
            assert set(cell) == {"value", "n", "low", "high", "kind"}
            assert cell["n"] == 16
            assert 0 <= cell["low"] <= cell["value"] <= cell["high"] <= 1
    assert matrix["summary"]["backward_transfer"] == 0.0
    assert matrix["summary"]["forgetting"] == 0.0
    assert matrix["rows"][1]["cells"][0]["value"] > matrix["rows"][0]["cells"][0]["value"]


def test_guards_are_scored_under_every_other_tasks_adapter(learned_once: Lab) -> None:
    with open_registry(learned_once.home) as registry:
        guards = [cell for cell in registry.cells("tiny") if cell.adapter_of is not None]
    last = {(cell.task, cell.adapter_of) for cell in guards if cell.version == 3}
    assert last == {("color", "size"), ("color", "animal")}
    shown = learned_once.lori("matrix", "tiny").stdout
    assert "guard color under size" in shown
    assert "guard color under animal" in shown


def test_no_cell_was_scored_twice(learned_once: Lab) -> None:
    with open_registry(learned_once.home) as registry:
        places, keys = registry.cells("tiny"), {cell.key for cell in registry.cells("tiny")}
    assert len(list((learned_once.home / "cells").glob("*.json"))) == len(keys) < len(places)


def test_every_answer_is_kept_by_digest(learned_once: Lab) -> None:
    with open_registry(learned_once.home) as registry:
        for cell in registry.cells("tiny"):
            assert cell.predictions is not None
            lines = (learned_once.home / cell.predictions).read_text().splitlines()
            assert len(lines) == cell.n
            scores = [json.loads(line)["score"] for line in lines]
            assert sum(scores) / len(scores) == pytest.approx(cell.value)


NOTHING_HEAVY = """
import sys
from flows.cli import lori
try:
    lori(["run", sys.argv[1]])
finally:
    heavy = [name for name in ("torch", "transformers", "prefect", "mlflow") if name in sys.modules]
    assert not heavy, heavy
"""


def test_a_finished_sequence_says_so_without_torch_or_prefect(learned_once: Lab) -> None:
    began = time.monotonic()
    answer = subprocess.run(
        [sys.executable, "-c", NOTHING_HEAVY, str(learned_once.file)],
        env={"LORI_HOME": str(learned_once.home), "PYTHONPATH": str(ROOT), "PATH": ""},
        capture_output=True,
        text=True,
        check=False,
    )
    assert answer.returncode == 0, answer.stderr
    assert "nothing to do" in answer.stdout
    assert time.monotonic() - began < 15


@pytest.mark.parametrize(
    ("old", "new", "named"),
    [
        ("{r: 8, lora_alpha: 16", "{r: 4, lora_alpha: 16", "adapter.r "),
        ("max_new_tokens: 2", "max_new_tokens: 3", "task 'color', max_new_tokens"),
        ("learning_rate: 5e-2", "learning_rate: 4e-2", "task 'color', training.learning_rate"),
        ("name: color", "name: colour", "task 1"),
        ("seed: 0", "seed: 1", "adapter.seed"),
    ],
)
def test_a_changed_setting_of_what_was_learned_is_refused_by_name(
    learned: Lab, old: str, new: str, named: str
) -> None:
    learned.file.write_text(learned.file.read_text().replace(old, new).replace("[color]", "[]"))
    answer = learned.lori("run", learned.file)
    assert answer.returncode == 2, answer.stderr
    assert named in answer.stderr
    assert answer.stderr.count("\n") == 1


def test_changed_rows_and_a_changed_base_are_refused_by_name(learned: Lab) -> None:
    path = learned.folder / "rows" / "size-train.jsonl"
    text = path.read_text()
    path.write_text(text.replace("big", "small", 1))
    answer = learned.lori("run", learned.file)
    assert answer.returncode == 2
    assert "train rows: those of task 'size' are not the ones it was learned with" in answer.stderr
    assert answer.stderr.endswith("append a new task that says `supersedes: size`.\n")
    path.write_text(path.with_name("size-test.jsonl").read_text())
    answer = learned.lori("run", learned.file)
    assert "with them, 16 of 16 test rows occur in train: expected" in answer.stderr
    path.write_text(text)
    flip_bit(learned.folder / "base" / "model.safetensors", -5)
    answer = learned.lori("run", learned.file)
    assert (answer.returncode, ": base is" in answer.stderr) == (2, True)


def flip_bit(path: Path, place: int) -> None:
    data = bytearray(path.read_bytes())
    data[place] ^= 1
    path.chmod(0o644)
    path.write_bytes(bytes(data))


def test_an_appended_task_goes_on_from_the_last_version(learned: Lab) -> None:
    before = json_of(learned, "versions", "tiny")
    more = learned.folder / "rows"
    for split, count in (("train", 48), ("test", 16)):
        again = [{**row, "prompt": f"not {row['prompt']}"} for row in rows("color", split, count)]
        write_rows(more / f"again-{split}.jsonl", again)
    write_sequence(learned.folder, (*TASKS, "again"), more="guards: [color]")
    answer = learned.lori("run", learned.file)
    assert answer.returncode == 0, answer.stderr
    assert "learned tiny/4" in answer.stdout
    after = json_of(learned, "versions", "tiny")
    assert isinstance(after, list)
    assert after[:3] == before
    assert after[3]["task"] == "again"


def test_verify_passes_and_names_the_layer_of_a_flipped_bit(learned: Lab) -> None:
    assert learned.lori("verify", "tiny").returncode == 0
    (stored,) = (learned.home.glob("mlartifacts/**/lori.safetensors"),)
    path = next(p for p in stored if json_of_header(p)["task"] == "size")
    for place, named in ((-1, "layer model.layers."), (len_of_header(path) + 8, "layer model.")):
        original = path.read_bytes()
        flip_bit(path, place)
        answer = learned.lori("verify", "tiny/2", "--json")
        assert answer.returncode == 1, answer.stdout
        found = json.loads(answer.stdout)
        assert not found["ok"]
        failed = [check for check in found["checks"] if not check["ok"]]
        assert any(named in check["detail"] for check in failed), failed
        path.write_bytes(original)


def json_of_header(path: Path) -> dict[str, object]:
    data = path.read_bytes()
    header = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])
    found: dict[str, object] = json.loads(header["__metadata__"]["lori"])
    return found


def len_of_header(path: Path) -> int:
    return int.from_bytes(path.read_bytes()[:8], "little")


@pytest.fixture(scope="module")
def elsewhere(
    learned_once: Lab, prefect_store: Path, tmp_path_factory: pytest.TempPathFactory
) -> Lab:
    """The first task, learned again in another home from a base of its own."""
    other = Lab(tmp_path_factory.mktemp("elsewhere"))
    shutil.copytree(learned_once.folder / "base", other.folder / "base")
    write_sequence(other.folder, TASKS[:1], name="elsewhere")
    copy_prefect_store(prefect_store, other.home)
    answer = other.lori("run", other.file)
    assert answer.returncode == 0, answer.stderr
    return other


def test_verify_names_the_tensor_of_a_base_that_changed(elsewhere: Lab) -> None:
    weights = elsewhere.folder / "base" / "model.safetensors"
    original = weights.read_bytes()
    try:
        flip_bit(weights, -5)
        answer = elsewhere.lori("verify", "elsewhere/1")
    finally:
        weights.write_bytes(original)
    assert answer.returncode == 1
    assert "layer model." in answer.stderr


LOADED_BY_PEFT = """
import sys, torch
from peft import PeftModel
from transformers import AutoModelForCausalLM
assert not any(name.split(".")[0] in ("lori_core", "flows", "registry") for name in sys.modules)
base = AutoModelForCausalLM.from_pretrained(
    sys.argv[1], dtype=torch.float32, attn_implementation="eager"
)
model = PeftModel.from_pretrained(base, sys.argv[2]).eval()
with torch.no_grad():
    logits = model(input_ids=torch.arange(3, 15)[None]).logits
torch.save(logits, sys.argv[3])
"""


def test_an_export_loads_in_plain_peft_with_the_very_logits(
    learned_once: Lab, tmp_path: Path
) -> None:
    import torch

    from flows.recorded import recorded
    from flows.stages.bench import shared_adapter
    from lori_core.adapters import attach
    from lori_core.base import load_causal
    from lori_core.effective import load_effective

    out = tmp_path / "peft"
    answer = learned_once.lori("export", "tiny/3", "size", "--to", out)
    assert answer.returncode == 0, answer.stderr
    assert f"vllm serve {learned_once.folder}/base --enable-lora" in answer.stdout
    base, logits = learned_once.folder / "base", tmp_path / "logits"
    subprocess.run(
        [sys.executable, "-c", LOADED_BY_PEFT, str(base), str(out), str(logits)],
        cwd=tmp_path,
        check=True,
        capture_output=True,
    )
    with open_registry(learned_once.home) as registry:
        found = recorded(registry, "tiny")
        config = found.config()
        shared = shared_adapter(found.folders(3))
    model = attach(load_causal(config.base), config.adapter, seed=config.adapter.seed)
    load_effective(model, shared.effective(2, 3, "inherited"))
    with torch.no_grad():
        ours = model(input_ids=torch.arange(3, 15)[None]).logits
    assert float((torch.load(logits) - ours).abs().max()) == 0.0


def test_predict_answers_rows_as_the_evaluation_did(learned_once: Lab, tmp_path: Path) -> None:
    asked = [{k: row[k] for k in ("id", "prompt")} for row in rows("color", "test", 16)]
    file = write_rows(tmp_path / "asked.jsonl", asked)
    answer = learned_once.lori("predict", "tiny", "color", "--rows", file, "--json")
    assert answer.returncode == 0, answer.stderr
    said = [json.loads(line) for line in answer.stdout.splitlines()]
    assert [set(each) for each in said] == [{"id", "prediction", "scores"}] * 16
    with open_registry(learned_once.home) as registry:
        cells = registry.matrix_cells("tiny", "inherited").rows[3].cells
    assert cells[0] is not None
    assert cells[0].predictions is not None
    kept = (learned_once.home / cells[0].predictions).read_text().splitlines()
    assert [each["prediction"] for each in said] == [json.loads(k)["prediction"] for k in kept]


def test_status_shows_every_task_as_learned(learned_once: Lab) -> None:
    standing = json_of(learned_once, "status")
    assert isinstance(standing, list)
    assert [task["state"] for task in standing[0]["tasks"]] == ["learned"] * 3
    assert standing[0]["running"] is False


def test_another_read_mode_is_scored_once(learned: Lab) -> None:
    first = learned.lori("evaluate", "tiny", "--read", "isolated")
    assert first.returncode == 0, first.stderr
    assert "not the mode it was trained under" in first.stdout
    again = learned.lori("evaluate", "tiny", "--read", "isolated")
    assert "0 cells scored now" in again.stdout


def steps_of_color(lab: Lab) -> int:
    """Of its training, as the log has them."""
    logs = [json.loads(path.read_text()) for path in lab.home.glob("stages/train-*/log.json")]
    (steps,) = {log["train"]["steps"] for log in logs if log["task"] == "color"}
    return int(steps)


def test_check_shows_what_is_learned_and_estimates_nothing_for_what_is(learned_once: Lab) -> None:
    found = json_of(learned_once, "check", str(learned_once.file))
    assert isinstance(found, dict)
    assert found["learned"] == 3
    assert found["tasks"][0]["shown"][0]["learned"] == "red"
    assert found["tasks"][0]["steps"] == steps_of_color(learned_once)
    assert not any(task["few_steps"] for task in found["tasks"])  # all are learned
    told = learned_once.lori("check", learned_once.file).stdout
    assert f"each phase takes {steps_of_color(learned_once)} steps" in told
    assert "steps are few" not in told
    assert found["estimate"]["seconds"] == 0.0
    assert found["capacity"]["tasks"][2]["free_after"] == found["capacity"]["entries"] // 4


def test_the_same_seed_gives_the_same_digests_elsewhere(learned_once: Lab, elsewhere: Lab) -> None:
    here, there = (
        json_of(learned_once, "versions", "tiny"),
        json_of(elsewhere, "versions", "elsewhere"),
    )
    assert isinstance(here, list)
    assert isinstance(there, list)
    for digest in ("adapter_sha256", "mask_sha256"):
        assert here[0][digest] == there[0][digest]


def run_with_two_stages_finished(
    lab: Lab, wait_until: WaitUntil
) -> tuple[subprocess.Popen[str], list[psutil.Process]]:
    """A run in the middle of its work, and all that it started."""
    process = subprocess.Popen(
        [sys.executable, "-m", "flows.cli", "run", str(lab.file)],
        env={**os.environ, "LORI_HOME": str(lab.home), "PYTHONPATH": str(ROOT)},
        stderr=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        text=True,
    )
    wait_until(lambda: finished_stages(lab.home) >= 2, 180)
    return process, psutil.Process(process.pid).children(recursive=True)


def stopped_amid_a_run(lab: Lab, wait_until: WaitUntil, number: signal.Signals, code: int) -> None:
    """A run that was sent the signal with two stages finished; nothing of it is left."""
    process, children = run_with_two_stages_finished(lab, wait_until)
    process.send_signal(number)
    _, said = process.communicate(timeout=60)
    assert process.returncode == code, said
    assert said.splitlines()[-1].startswith("Stopped. Kept: ")
    assert "The same command goes on from there." in said
    assert "Traceback" not in said
    assert psutil.wait_procs(children, timeout=5)[1] == []


@pytest.mark.usefixtures("with_prefect")
def test_a_stop_is_not_held_up_by_a_server_that_is_gone(lab: Lab, wait_until: WaitUntil) -> None:
    process, children = run_with_two_stages_finished(lab, wait_until)
    for server in (child for child in children if "uvicorn" in child.cmdline()):
        server.kill()
    process.send_signal(signal.SIGTERM)
    _, said = process.communicate(timeout=60)  # Prefect's client would ask for three minutes
    assert process.returncode == 143, said
    assert said.splitlines()[-1].startswith("Stopped. Kept: ")
    assert psutil.wait_procs(children, timeout=5)[1] == []


@pytest.mark.usefixtures("with_prefect")
def test_ctrl_c_ends_everything_and_the_next_run_goes_on(lab: Lab, wait_until: WaitUntil) -> None:
    stopped_amid_a_run(lab, wait_until, signal.SIGINT, 130)
    done = finished_stages(lab.home)
    answer = lab.lori("run", lab.file)
    assert answer.returncode == 0, answer.stderr
    assert finished_stages(lab.home) > done
    with open_registry(lab.home) as registry:
        finished = [stage.key for stage in registry.stages("tiny") if stage.state == "finished"]
    assert len(finished) == len(set(finished))


@pytest.mark.usefixtures("with_prefect")
def test_sigterm_ends_everything_too_and_keeps_what_is_done(
    lab: Lab, wait_until: WaitUntil
) -> None:
    stopped_amid_a_run(lab, wait_until, signal.SIGTERM, 143)
    assert finished_stages(lab.home)
