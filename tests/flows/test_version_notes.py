"""A version that was really learned remembers how, and its download is what `lori export` writes."""

import io
import json
import zipfile
from pathlib import Path

import pytest
from fastapi.testclient import TestClient

from dashboard.app import make_app
from registry.settings import TRACKING_VARIABLE
from registry.store import open_registry
from registry.version_view import VersionView, version_view
from tests.flows.conftest import TASKS, Lab


@pytest.fixture
def last(learned_once: Lab) -> VersionView:
    with open_registry(learned_once.home) as registry:
        return version_view(registry, "tiny", len(TASKS))


def test_it_remembers_the_losses_of_both_phases(last: VersionView) -> None:
    log = next(file for file in last.files if file.path == "log.json")
    assert last.learning.calibration is not None
    assert last.learning.training is not None
    assert last.learning.calibration.steps == last.learning.training.steps > 0
    assert last.learning.training.points[-1].step == last.learning.training.steps
    assert log.size > 0


def test_what_is_remembered_of_the_training_is_what_its_log_says(
    learned_once: Lab, last: VersionView
) -> None:
    with open_registry(learned_once.home) as registry:
        folder = registry.artifact_path("tiny", last.version)
    log = json.loads((folder / "log.json").read_text())["train"]
    assert last.learning.training is not None
    assert log["steps"] == last.learning.training.steps
    assert (log["losses"][0], log["losses"][-1]) == (
        last.learning.training.first,
        last.learning.training.last,
    )


def test_it_remembers_the_audit_and_the_size_of_every_matrix(last: VersionView) -> None:
    assert last.data.audit is not None
    assert set(last.data.audit.rows) == set(last.data.digests)
    assert min(last.data.audit.rows.values()) > 0
    assert sum(each.entries or 0 for each in last.mask.layers) == last.mask.entries
    assert sum(each.owned for each in last.mask.layers) == last.mask.owned


def test_an_adopted_version_says_that_it_was_trained_elsewhere(adopted_once: Lab) -> None:
    with open_registry(adopted_once.home) as registry:
        view = version_view(registry, "team", 2)
    assert view.learning.adopted
    assert (view.learning.calibration, view.learning.training) == (None, None)
    assert view.data.audit is not None
    assert "train" not in view.data.audit.rows
    assert sum(each.entries or 0 for each in view.mask.layers) == view.mask.entries


def test_a_download_is_the_bytes_of_lori_export_and_its_digest_is_recorded(
    learned: Lab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(TRACKING_VARIABLE, raising=False)
    folder = tmp_path / "exported"
    answer = learned.lori("export", "tiny/3", "size", "--to", folder, "--json")
    assert answer.returncode == 0, answer.stderr
    weights = json.loads(answer.stdout)["files"]["adapter_model.safetensors"]
    with open_registry(learned.home) as registry:
        client = TestClient(
            make_app(registry, token="printed", errands=False), base_url="http://127.0.0.1:8321"
        )
        path = "/sequences/tiny/versions/3/adapter.zip"
        found = client.get(path, params={"task": "size", "read": "cumulative"})
        assert found.status_code == 200, found.text
        other = client.get(path, params={"task": "size"})
        recorded = {
            read: registry.exported("tiny", 3, "size", read) for read in ("inherited", "cumulative")
        }
    with zipfile.ZipFile(io.BytesIO(other.content)) as archive:
        files = {Path(name).name: archive.read(name) for name in archive.namelist()}
    assert files == {path.name: path.read_bytes() for path in folder.iterdir()}
    assert recorded["inherited"] == (weights,)
    assert len(recorded["cumulative"]) == 1
