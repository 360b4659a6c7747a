"""Real rows on real models, through the command. Scores are poor; what counts is that all pass."""

import json
from pathlib import Path

import pytest

from registry.store import open_registry
from tests.flows.conftest import Lab
from tests.flows.real_data import cl_order, lori_order, needs_real_data
from tests.made_once import copy_prefect_store

pytestmark = [pytest.mark.slow, pytest.mark.data, needs_real_data]


def test_real_rows_of_every_kind_pass_through_the_corridor_on_stories260k(
    tmp_path: Path, prefect_store: Path
) -> None:
    lab = Lab(tmp_path)
    copy_prefect_store(prefect_store, lab.home)
    file = lori_order(tmp_path, train=170, test=20)
    answer = lab.lori("run", file, timeout=900)
    assert answer.returncode == 0, answer.stderr[-2000:]
    with open_registry(lab.home) as registry:
        steps = {run.task: run.detail for run in registry.stages("lori") if run.stage == "train"}
        cells = registry.cells("lori")
    assert set(steps) == {"safety", "nlu", "maths", "code"}
    metrics = {cell.task: cell.metric for cell in cells}
    assert metrics == {
        "safety": "refusal", "nlu": "accuracy", "maths": "exact_number", "code": "pass_at_k",
    }  # fmt: skip
    checked = lab.lori("check", file, "--json", timeout=600)
    assert checked.returncode == 0, checked.stderr[-2000:]
    for task in json.loads(checked.stdout)["tasks"]:
        assert task["train"] - task["dropped"] >= 100, task["task"]
    verified = lab.lori("verify", "lori", timeout=600)
    assert verified.returncode == 0, verified.stdout[-2000:]


def test_an_encoder_learns_real_classification_and_forgets_exactly_nothing(
    tmp_path: Path, prefect_store: Path
) -> None:
    lab = Lab(tmp_path)
    copy_prefect_store(prefect_store, lab.home)
    answer = lab.lori(
        "run", cl_order(tmp_path, ("agnews", "dbpedia"), train=256, test=40), timeout=900
    )
    assert answer.returncode == 0, answer.stderr[-2000:]
    matrix = json.loads(lab.lori("matrix", "cl", "--read", "inherited", "--json").stdout)
    assert matrix["summary"]["backward_transfer"] == 0.0
    assert matrix["rows"][0]["cells"] == [None, None]  # an encoder has no head before its task
    assert matrix["rows"][1]["cells"][0]["value"] >= 0.6  # chance is 0.25
    versions = json.loads(lab.lori("versions", "cl", "--json").stdout)
    assert [each["certificate"] for each in versions] == ["G2", "G2"]
