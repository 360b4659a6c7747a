import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))  # gate_cases

from folder_artifacts import FolderArtifacts
from gate_cases import Lab

from registry.store import open_registry


@pytest.fixture
def lab(home: Path, tables: None, folder: FolderArtifacts, tmp_path: Path) -> Iterator[Lab]:
    """An empty registry in which cells and versions are made by hand."""
    with open_registry(home, artifacts=folder) as registry:
        yield Lab(registry, tmp_path / "made")
