"""The example that uses the method alone does what its text says."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]


def test_two_tasks_share_no_entry_and_the_first_ones_answers_keep_their_bits(
    tmp_path: Path,
) -> None:
    script = ROOT / "examples" / "lori_core_alone.py"
    answer = subprocess.run(
        [sys.executable, str(script)],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert answer.returncode == 0, answer.stderr[-2000:]
    said = answer.stdout
    assert re.search(r"entries written: [1-9]\d* and [1-9]\d*, by both: 0$", said, re.M), said
    assert "same logits after strings: True" in said
    moved = re.search(r"logits moved by up to (\d+\.\d+)", said)
    assert moved is not None
    assert float(moved[1]) > 0
    assert list(tmp_path.iterdir()) == []


def test_it_imports_neither_prefect_nor_mlflow_nor_a_database() -> None:
    script = (
        "import runpy, sys; runpy.run_path(sys.argv[1], run_name='example');"
        "print(sorted({'prefect', 'mlflow', 'sqlalchemy', 'flows', 'registry'} & set(sys.modules)))"
    )
    answer = subprocess.run(
        [sys.executable, "-c", script, str(ROOT / "examples" / "lori_core_alone.py")],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=300,
        check=True,
    )
    assert answer.stdout.strip() == "[]"
