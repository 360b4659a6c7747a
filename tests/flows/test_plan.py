import os
import subprocess
import sys
from pathlib import Path

import pytest

from flows.checks import check_rows
from flows.plan import base_digest, read_plan, remember_base
from lori_core.errors import BadInput
from tests.flows.conftest import ROOT, Lab

TORCH_FREE = """
import sys
from pathlib import Path
from flows.checks import check_rows
from flows.plan import read_plan
plan = read_plan(Path(sys.argv[1]), Path(sys.argv[2]))
check_rows(plan, [1, 2])
heavy = [name for name in ("torch", "transformers", "prefect", "mlflow") if name in sys.modules]
sys.exit(", ".join(heavy) or None)
"""


def test_a_sequence_is_read_and_audited_without_anything_heavy(lab: Lab) -> None:
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", TORCH_FREE, str(lab.file), str(lab.home)]
    answer = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert answer.returncode == 0, answer.stderr


def test_equal_rows_are_equal_data_wherever_they_lie(lab: Lab, tmp_path: Path) -> None:
    plan = read_plan(lab.file, lab.home)
    moved = lab.folder / "elsewhere"
    (lab.folder / "rows").rename(moved)
    lab.file.write_text(lab.file.read_text().replace("rows/", "elsewhere/"))
    again = read_plan(lab.file, lab.home)
    assert again.data == plan.data
    assert again.data_folder(lab.home, 1) == plan.data_folder(lab.home, 1)
    assert plan.data[0] != plan.data[1]


def test_records_hold_no_path_of_rows(lab: Lab) -> None:
    plan = read_plan(lab.file, lab.home)
    assert str(lab.folder) not in str(plan.task_record(1))
    assert plan.sequence_record("b").tasks == ("color", "size")


def test_a_bases_identity_is_remembered_until_a_file_of_it_is_touched(lab: Lab) -> None:
    base = read_plan(lab.file, lab.home).config.base
    lab.home.mkdir()
    real = base_digest(base, lab.home)
    assert base_digest(base, lab.home) == real
    weights = lab.folder / "base" / "model.safetensors"
    os.utime(weights, ns=(1, 1))
    remember_base(base, lab.home, "as the child found")
    assert base_digest(base, lab.home) == "as the child found"
    os.utime(weights, ns=(2, 2))
    assert base_digest(base, lab.home) == real


def test_a_leak_is_refused_unless_allowed_by_name(lab: Lab) -> None:
    rows = lab.folder / "rows"
    (rows / "size-test.jsonl").write_text((rows / "size-train.jsonl").read_text())
    plan = read_plan(lab.file, lab.home)
    check_rows(plan, [1])
    with pytest.raises(BadInput, match="allow_leak"):
        check_rows(plan, [1, 2])
    text = lab.file.read_text()
    lab.file.write_text(text.replace("name: size", "name: size\n    allow_leak: true"))
    check_rows(read_plan(lab.file, lab.home), [1, 2])
