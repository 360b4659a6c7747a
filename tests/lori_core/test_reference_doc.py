import subprocess
import sys
from dataclasses import fields
from pathlib import Path

import pytest

from lori_core.config import (
    AdapterConfig,
    BaseConfig,
    DataSource,
    GateConfig,
    SequenceConfig,
    TaskConfig,
    TrainingConfig,
)
from lori_core.reference_doc import reference_markdown
from lori_core.validation import BOUNDS

ROOT = Path(__file__).parents[2]
KINDS = (
    AdapterConfig,
    BaseConfig,
    DataSource,
    GateConfig,
    SequenceConfig,
    TaskConfig,
    TrainingConfig,
)


def test_the_page_in_docs_is_the_page_made_from_the_settings() -> None:
    written = (ROOT / "docs/reference.md").read_text()
    assert written == reference_markdown(), (
        "run: python -m lori_core.reference_doc > docs/reference.md"
    )


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_every_key_is_explained_in_a_row_of_its_own(kind: type) -> None:
    lines = reference_markdown().splitlines()
    for item in fields(kind):
        rows = [line for line in lines if line.startswith(f"| `{item.name}` |")]
        assert rows, item.name
        for row in rows:
            cells = [cell.strip() for cell in row.strip("|").split("|")]
            assert len(cells) == 5
            assert cells[1] and cells[2] and cells[4].endswith(".")  # noqa: PT018


def test_bounds_are_shown_beside_their_keys() -> None:
    page = reference_markdown()
    for (_, key), bound in BOUNDS.items():
        assert any(
            line.startswith(f"| `{key}` |") and f"| {bound} |" in line for line in page.splitlines()
        )


def test_the_command_in_the_page_writes_the_page() -> None:
    made = subprocess.run(
        [sys.executable, "-m", "lori_core.reference_doc"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    assert made.stdout == reference_markdown()
