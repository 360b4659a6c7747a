"""Filing in a real MLflow store, killed for real at every step (child processes, SIGKILL)."""

import ast
import os
import resource
from collections.abc import Callable
from pathlib import Path

import pytest
from registry_examples import (
    cell,
    declare,
    die,
    killed_or_done,
    version_record,
    write_files,
)

from lori_core.errors import BadInput
from registry.filing import STEPS
from registry.records import FiledVersion, VersionState
from registry.settings import switch_telemetry_off

switch_telemetry_off()

from mlflow import MlflowClient  # noqa: E402
from mlflow.entities import LoggedModelStatus, ViewType  # noqa: E402

from registry.artifacts import Filing, Upload  # noqa: E402
from registry.mlflow_artifacts import MlflowArtifacts  # noqa: E402
from registry.mlflow_connection import process_wide  # noqa: E402
from registry.settings import Settings, find_settings  # noqa: E402
from registry.store import Registry, open_registry  # noqa: E402
from tests.forked import Fork  # noqa: E402

KILLED = -9


def client(home: Path) -> MlflowClient:
    uri = f"sqlite:///{home / 'mlflow.db'}"
    return MlflowClient(uri, uri)


def file_once(home: Path, files: Path, version: int = 1) -> FiledVersion:
    with open_registry(home) as registry:
        return registry.file_version(version_record(version), files)


def assert_filed_once(home: Path, files: Path) -> None:
    """One run that ended, one model that is ready, one version, every byte as it was given."""
    with open_registry(home) as registry:
        (filed,) = registry.versions("assistant")
        stored = registry.artifact_path("assistant", 1)
    assert filed.state == "registered"
    for path in files.rglob("*"):
        if path.is_file():
            assert (stored / path.relative_to(files)).read_bytes() == path.read_bytes()

    mlflow = client(home)
    experiment = mlflow.get_experiment_by_name("lori-assistant").experiment_id
    runs = mlflow.search_runs([experiment], run_view_type=ViewType.ACTIVE_ONLY)
    assert [(run.info.run_id, run.info.status) for run in runs] == [(filed.run_id, "FINISHED")]
    assert [found.model_id for found in runs[0].outputs.model_outputs] == [filed.model_id]
    models = mlflow.search_logged_models([experiment])
    assert [(m.model_id, m.status) for m in models] == [(filed.model_id, LoggedModelStatus.READY)]
    versions = mlflow.search_model_versions("name = 'lori-assistant'")
    assert [(int(v.version), v.source, v.run_id) for v in versions] == [
        (filed.model_version, f"models:/{filed.model_id}", filed.run_id)
    ]
    kept = home.glob("mlartifacts/lori-assistant/models/*/*/*")
    assert {path.parts[-3] for path in kept} == {filed.model_id}, "bytes of a begun upload are left"
    assert not list(home.glob("filing-*"))


def test_a_version_is_one_run_one_model_and_one_model_version(
    filing_home: Path, files: Path
) -> None:
    with open_registry(filing_home) as registry:
        registry.record_cell(cell(0, "safety", 0.1))
        registry.record_cell(cell(1, "safety", 0.9))
        registry.record_cell(cell(1, "safety", 0.4, adapter_of="math"))
    filed = file_once(filing_home, files)
    assert file_once(filing_home, files) == filed
    assert_filed_once(filing_home, files)

    mlflow, record = client(filing_home), version_record(1)
    expected = {
        "sequence": "assistant",
        "version": "1",
        "task": "safety",
        "adapter_sha256": record.adapter_sha256,
        "mask_sha256": record.mask.sha256,
        "manifest_sha256": filed.manifest_sha256,
        "certificate": "G2",
        "key": filed.idem_key,
    }
    assert mlflow.get_model_version("lori-assistant", "1").tags == expected
    run = mlflow.get_run(filed.run_id)
    assert expected.items() <= run.data.tags.items()
    assert run.data.params["sparsity"] == "0.9"
    assert run.data.params["adapter.r"] == "4"
    assert run.data.metrics == {
        "loss/train": 0.25,
        "R/inherited/safety": 0.9,
        "guard/inherited/safety/under/math": 0.4,
    }
    history = mlflow.get_metric_history(filed.run_id, "R/inherited/safety")
    assert [(point.step, point.value) for point in history] == [(1, 0.9)]
    assert [file.path for file in mlflow.list_artifacts(filed.run_id)] == ["manifest.json"]


def test_versions_of_a_sequence_share_a_model_and_count_up(
    filing_home: Path, files: Path, tmp_path: Path
) -> None:
    file_once(filing_home, files, 1)
    second = file_once(filing_home, write_files(tmp_path / "second", "two"), 2)
    assert (second.model_name, second.model_version) == ("lori-assistant", 2)
    with open_registry(filing_home) as registry:
        path = registry.artifact_path("assistant", 2)
    assert (path / "lori.safetensors").read_bytes() == b"values two"


@pytest.mark.parametrize("last", STEPS)
def test_killed_after_any_step_and_filed_again_there_is_exactly_one(
    filing_home: Path, files: Path, last: VersionState
) -> None:
    def die_after(state: VersionState) -> None:
        if state == last:
            die()

    def filing() -> None:
        with open_registry(filing_home) as registry:
            registry.file_version(version_record(1), files, on_step=die_after)

    assert killed_or_done(filing) == KILLED
    with open_registry(filing_home) as registry:
        assert registry.version("assistant", 1).state == last
    file_once(filing_home, files)
    assert_filed_once(filing_home, files)


def test_two_processes_that_file_the_same_version_at_once_file_it_once(
    home: Path, files: Path
) -> None:
    """MLflow's store is fresh, too: both would make its tables."""
    with open_registry(home) as registry:
        declare(registry)
    clerks = [Fork(target=file_once, args=(home, files)) for _ in range(2)]
    for clerk in clerks:
        clerk.start()
    for clerk in clerks:
        clerk.join()
    assert [clerk.exitcode for clerk in clerks] == [0, 0]
    assert_filed_once(home, files)


class DiesAfterRun(MlflowArtifacts):
    def start_run(self, filing: Filing) -> str:
        super().start_run(filing)
        return str(die())


class DiesMidUpload(MlflowArtifacts):
    """The model is PENDING and holds MLflow's own files but none of the version's."""

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings)
        send = self._client.log_model_artifacts

        def send_or_die(model_id: str, folder: str, path: str | None = None) -> None:
            if path is not None:
                die()
            send(model_id, folder)

        self._client.log_model_artifacts = send_or_die


class DiesAfterUpload(MlflowArtifacts):
    """All bytes are there and the model is READY, and we do not know it."""

    def upload(self, filing: Filing, run_id: str, folder: Path) -> Upload:
        super().upload(filing, run_id, folder)
        raise SystemExit(die())


class DiesAfterVersion(MlflowArtifacts):
    def create_version(self, filing: Filing, run_id: str, model_id: str) -> int:
        super().create_version(filing, run_id, model_id)
        raise SystemExit(die())


class DiesAfterFinish(MlflowArtifacts):
    def finish_run(self, filing: Filing, run_id: str, metrics: object) -> None:
        super().finish_run(filing, run_id, metrics)  # type: ignore[arg-type]
        die()


def _model_ids(home: Path) -> dict[str, LoggedModelStatus]:
    mlflow = client(home)
    experiment = mlflow.get_experiment_by_name("lori-assistant").experiment_id
    return {m.model_id: m.status for m in mlflow.search_logged_models([experiment])}


@pytest.mark.parametrize(
    "store", [DiesAfterRun, DiesMidUpload, DiesAfterUpload, DiesAfterVersion, DiesAfterFinish]
)
def test_killed_between_a_deed_and_its_record_there_is_exactly_one(
    filing_home: Path, files: Path, store: Callable[..., MlflowArtifacts]
) -> None:
    def filing() -> None:
        artifacts = store(find_settings(filing_home))
        with open_registry(filing_home, artifacts=artifacts) as registry:
            registry.file_version(version_record(1), files)

    assert killed_or_done(filing) == KILLED
    left = _model_ids(filing_home)
    filed = file_once(filing_home, files)
    assert_filed_once(filing_home, files)
    if store is DiesMidUpload:
        assert list(left.values()) == [LoggedModelStatus.PENDING]
        assert filed.model_id not in left
    elif store is not DiesAfterRun:
        assert left == {filed.model_id: LoggedModelStatus.READY}, "a finished upload is used again"


def test_what_a_retried_request_doubled_is_removed(filing_home: Path, files: Path) -> None:
    """A proxy that answers 503 after the commit makes MLflow's client create twice."""

    class Doubling(MlflowArtifacts):
        def start_run(self, filing: Filing) -> str:
            for _ in range(2):
                self._client.create_run(self._experiment(filing), tags={"key": filing.key})
            return super().start_run(filing)

        def create_version(self, filing: Filing, run_id: str, model_id: str) -> int:
            super().create_version(filing, run_id, model_id)
            with process_wide(self._settings.tracking_uri):
                self._client.create_model_version(filing.model_name, f"models:/{model_id}", run_id)
            return super().create_version(filing, run_id, model_id)

    with open_registry(filing_home, artifacts=Doubling(find_settings(filing_home))) as registry:
        registry.file_version(version_record(1), files)
    assert_filed_once(filing_home, files)


def test_a_request_that_is_retried_within_one_call_leaves_one_of_each(
    filing_home: Path, files: Path
) -> None:
    """The first answer said 503 though the deed was done, and the client asked again by itself."""

    class Retried(MlflowArtifacts):
        def __init__(self, settings: Settings) -> None:
            super().__init__(settings)
            for name in ("create_run", "create_logged_model", "create_model_version"):
                setattr(self._client, name, twice(getattr(self._client, name)))

    def twice(create: Callable[..., object]) -> Callable[..., object]:
        def created(*given: object, **named: object) -> object:
            create(*given, **named)
            return create(*given, **named)

        return created

    with open_registry(filing_home, artifacts=Retried(find_settings(filing_home))) as registry:
        registry.file_version(version_record(1), files)
    assert_filed_once(filing_home, files)


def test_files_that_do_not_fit_are_one_line_and_are_filed_once_they_do(
    filing_home: Path, files: Path, tmp_path: Path
) -> None:
    (files / "lori.safetensors").write_bytes(os.urandom(12_000_000))
    said = tmp_path / "said"

    def filing() -> None:
        limit = 10_000_000
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
        try:
            file_once(filing_home, files)
        except BadInput as refusal:
            said.write_text(str(refusal))

    assert killed_or_done(filing) == 0
    assert "(File too large): expected a folder that can be written, with room" in said.read_text()
    with open_registry(filing_home) as registry:
        assert registry.version("assistant", 1).state == "started"
    file_once(filing_home, files)
    assert_filed_once(filing_home, files)


def test_the_home_may_be_moved(filing_home: Path, files: Path, tmp_path: Path) -> None:
    file_once(filing_home, files)
    moved = tmp_path / "moved" / ".lori"
    moved.parent.mkdir()
    filing_home.rename(moved)
    with open_registry(moved) as registry:
        path = registry.artifact_path("assistant", 1)
    assert path.is_relative_to(moved)


def test_filing_leaves_the_process_and_its_environment_alone(
    filing_home: Path, files: Path
) -> None:
    before = {name: value for name, value in os.environ.items() if "URI" in name or "URL" in name}
    file_once(filing_home, files)
    after = {name: value for name, value in os.environ.items() if "URI" in name or "URL" in name}
    assert after == before


def test_a_store_that_cannot_be_made_is_one_line(
    registry: Registry, files: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/file/mlflow.db")
    with pytest.raises(BadInput) as refusal, open_registry(registry.settings.home) as elsewhere:
        elsewhere.file_version(version_record(1), files)
    assert "\n" not in str(refusal.value)
    assert elsewhere.version("assistant", 1).state == "reserved"


def test_only_the_files_that_say_so_import_mlflow() -> None:
    room = Path(__file__).parents[2] / "registry"
    importers = {
        path.name
        for path in room.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if (isinstance(node, ast.Import) and node.names[0].name.split(".")[0] == "mlflow")
        or (isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "mlflow")
    }
    assert {name for name in importers if not name.startswith("mlflow_")} == set()
    assert "mlflow_artifacts.py" in importers
