"""A merged model stands alone, says that nothing certifies it, and by how much it differs."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.flows.conftest import Lab

pytestmark = pytest.mark.slow

COMPARED = """
import json, sys, torch
from pathlib import Path
from peft import PeftModel
from transformers import AutoModelForCausalLM, AutoTokenizer
torch.set_num_threads(1)
base, adapter, merged, probes = sys.argv[1:]
whole = AutoModelForCausalLM.from_pretrained(merged, attn_implementation="eager").eval()
AutoTokenizer.from_pretrained(merged)
plain = AutoModelForCausalLM.from_pretrained(base, attn_implementation="eager")
with torch.inference_mode():
    bare = plain.eval()(input_ids=torch.arange(30)[None]).logits
    lora = PeftModel.from_pretrained(plain, adapter).eval()
    rows = [torch.tensor([row["input_ids"]]) for row in json.loads(Path(probes).read_text())]
    gap = max(float((lora(input_ids=i).logits - whole(input_ids=i).logits).abs().max()) for i in rows)
    moved = float((bare - whole(input_ids=torch.arange(30)[None]).logits).abs().max())
print(json.dumps([gap, moved, whole.config.lori_merged]))
"""


def test_a_merged_model_loads_alone_and_carries_its_mark(adopted_once: Lab, tmp_path: Path) -> None:
    merged = tmp_path / "merged"
    answer = adopted_once.lori("merge", "team/2", "color", "--to", merged, "--json")
    assert answer.returncode == 0, answer.stderr
    assert "shards" not in answer.stderr
    told = json.loads(answer.stdout)
    assert told["certificate"] is None
    assert told["rows"] == 16
    mark = json.loads((merged / "lori-merged.json").read_text())
    (probes,) = (
        path
        for path in adopted_once.home.glob("mlartifacts/**/probe-inputs.json")
        if json.loads((path.parent / "log.json").read_text())["task"] == "color"
    )
    done = subprocess.run(
        [sys.executable, "-c", COMPARED, "base", "loras/color", str(merged), str(probes)],
        cwd=adopted_once.folder,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    gap, moved, in_config = json.loads(done.stdout)
    assert mark["logits"]["largest_difference"] == told["largest_difference"]
    assert gap == pytest.approx(told["largest_difference"], abs=2e-6)
    assert gap < 1e-4 < moved
    versions = json.loads(adopted_once.lori("versions", "team", "--json").stdout)
    assert mark["adapter_sha256"] == versions[0]["adapter_sha256"]
    assert mark["certificate"] is None is in_config["certificate"]
    assert in_config["effective_sha256"] == mark["effective_sha256"]
    config = json.loads((merged / "config.json").read_text())
    plain = json.loads((adopted_once.folder / "base/config.json").read_text())
    kept = {k: v for k, v in plain.items() if k not in ("dtype", "torch_dtype")}
    assert {k: config[k] for k in kept} == kept


def test_merging_into_a_folder_that_holds_something_is_refused(
    adopted_once: Lab, tmp_path: Path
) -> None:
    (tmp_path / "a file").write_text("x")
    answer = adopted_once.lori("merge", "team", "color", "--to", tmp_path)
    assert (answer.returncode, "new or empty" in answer.stderr) == (2, True)
    assert answer.stderr.count("\n") == 1
