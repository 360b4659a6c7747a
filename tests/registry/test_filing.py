"""Filing against a folder as the store; against MLflow, with kills, see test_mlflow_artifacts.py."""

from dataclasses import replace
from pathlib import Path

import pytest
from folder_artifacts import FolderArtifacts
from registry_examples import (
    cell,
    declare,
    sequence_record,
    task_record,
    version_record,
    write_files,
)

from lori_core.digests import sha256_json
from lori_core.errors import BadInput, DigestMismatch, SequenceChanged
from registry.artifacts import Filing, Upload
from registry.filing import STEPS
from registry.store import Registry, open_registry


class Interrupted(Exception):
    """Stands for whatever ends a filing half-way."""


def test_a_filed_version_says_all_that_was_filed(learned: Registry, files: Path) -> None:
    (filed,) = learned.versions("assistant")
    record = version_record(1)
    assert filed == learned.version("assistant", 1)
    assert (filed.sequence, filed.version, filed.task) == ("assistant", 1, "safety")
    assert filed.state == "registered"
    assert filed.adapter_sha256 == record.adapter_sha256
    assert filed.mask_sha256 == record.mask.sha256
    assert filed.certificate == "G2"
    assert (filed.model_name, filed.model_version) == ("lori-assistant", 1)
    assert filed.size == sum(path.stat().st_size for path in files.rglob("*") if path.is_file())
    assert filed.registered is not None
    assert filed.registered >= filed.created
    assert learned.certificate("assistant", 1) == record.certificate
    assert learned.mask("assistant", 1) == record.mask


def test_filing_again_does_nothing(learned: Registry, files: Path, folder: FolderArtifacts) -> None:
    before = learned.versions("assistant")
    folder.calls.clear()
    assert learned.file_version(version_record(1), files) == before[0]
    assert folder.calls == []
    assert learned.versions("assistant") == before


def test_the_six_steps_are_told_in_order(home: Path, files: Path, folder: FolderArtifacts) -> None:
    told: list[str] = []
    with open_registry(home, artifacts=folder) as registry:
        declare(registry)
        registry.file_version(version_record(1), files, on_step=told.append)
    assert tuple(told) == STEPS


@pytest.mark.parametrize("last", STEPS)
def test_an_interrupted_filing_goes_on_where_it_was(
    home: Path, files: Path, folder: FolderArtifacts, last: str
) -> None:
    def interrupt(state: str) -> None:
        if state == last:
            raise Interrupted

    with open_registry(home, artifacts=folder) as registry:
        declare(registry)
        with pytest.raises(Interrupted):
            registry.file_version(version_record(1), files, on_step=interrupt)
        assert registry.version("assistant", 1).state == last
        registry.file_version(version_record(1), files)
        assert registry.version("assistant", 1).state == "registered"
    calls = ["start_run", "upload", "create_version", "finish_run"]
    assert folder.calls == calls


def test_the_cells_of_a_version_become_metrics_beside_its_own(
    home: Path, files: Path, folder: FolderArtifacts
) -> None:
    with open_registry(home, artifacts=folder) as registry:
        declare(registry)
        registry.record_cell(cell(0, "safety", 0.1))
        registry.record_cell(cell(1, "safety", 0.9))
        registry.record_cell(cell(1, "safety", 0.8, read="cumulative"))
        registry.record_cell(cell(1, "safety", 0.4, adapter_of="math"))
        registry.file_version(version_record(1), files)
    assert folder.metrics == {
        "loss/train": 0.25,
        "R/inherited/safety": 0.9,
        "R/cumulative/safety": 0.8,
        "guard/inherited/safety/under/math": 0.4,
    }


def test_versions_leave_no_gap(registry: Registry, files: Path) -> None:
    with pytest.raises(BadInput, match="version 1 to be filed before it"):
        registry.file_version(version_record(2), files)
    assert registry.versions("assistant") == ()


def test_a_version_belongs_to_the_task_at_its_position(registry: Registry, files: Path) -> None:
    with pytest.raises(BadInput, match="declared at position 1"):
        registry.file_version(replace(version_record(1), task="math"), files)
    with pytest.raises(BadInput, match=r"no task"):
        registry.file_version(replace(version_record(1), version=4), files)


def test_a_filed_version_refuses_another_adapter(learned: Registry, files: Path) -> None:
    with pytest.raises(DigestMismatch, match="assistant/1: the adapter of task 'safety'"):
        learned.file_version(version_record(1, adapter="another"), files)
    assert learned.version("assistant", 1).adapter_sha256 == version_record(1).adapter_sha256


def test_a_begun_version_may_still_get_another_adapter(
    home: Path, files: Path, folder: FolderArtifacts, tmp_path: Path
) -> None:
    def interrupt(state: str) -> None:
        if state == "verified":
            raise Interrupted

    with open_registry(home, artifacts=folder) as registry:
        declare(registry)
        with pytest.raises(Interrupted):
            registry.file_version(version_record(1), files, on_step=interrupt)
        other = write_files(tmp_path / "other", "two")
        filed = registry.file_version(version_record(1, adapter="another"), other)
        assert filed.adapter_sha256 == version_record(1, adapter="another").adapter_sha256
        stored = registry.artifact_path("assistant", 1) / "lori.safetensors"
        assert stored.read_bytes() == b"values two"


def test_a_begun_version_counts_as_learned(
    home: Path, files: Path, folder: FolderArtifacts
) -> None:
    def interrupt(state: str) -> None:
        raise Interrupted

    with open_registry(home, artifacts=folder) as registry:
        declare(registry)
        with pytest.raises(Interrupted):
            registry.file_version(version_record(1), files, on_step=interrupt)
        with pytest.raises(SequenceChanged):
            registry.declare_task("assistant", replace(task_record(1), data={"train": "other"}))


def test_equal_versions_of_two_sequences_have_keys_of_their_own(
    learned: Registry, files: Path
) -> None:
    learned.declare_sequence(sequence_record("twin"))
    learned.declare_task("twin", task_record(1))
    twin = replace(version_record(1), sequence="twin")
    filed = learned.file_version(twin, files)
    first = learned.version("assistant", 1)
    assert filed.adapter_sha256 == first.adapter_sha256
    assert filed.idem_key != first.idem_key
    assert filed.model_name == "lori-twin"


def test_the_key_knows_all_that_determines_the_adapter(home: Path, files: Path) -> None:
    def key(number: int, *, r: int = 4, data: str = "train", base: str = "base") -> str:
        place = home / str(number)
        store = FolderArtifacts(place / "store")
        with open_registry(place, artifacts=store) as registry:
            registry.declare_sequence(
                replace(sequence_record(), adapter={"r": r}, base_digest=sha256_json(base))
            )
            registry.declare_task("assistant", replace(task_record(1), data={"train": data}))
            return registry.file_version(version_record(1), files).idem_key

    assert key(1) == key(2)
    assert len({key(3), key(4, r=8), key(5, data="other"), key(6, base="other")}) == 4


class Careless(FolderArtifacts):
    """Loses a bit of its first uploads on the way."""

    harms = 1

    def upload(self, filing: Filing, run_id: str, folder: Path) -> Upload:
        upload = super().upload(filing, run_id, folder)
        if self.calls.count("upload") <= self.harms:
            (self.root / filing.manifest_sha256[:32] / "lori.safetensors").write_bytes(
                b"valuez one"
            )
        return upload


class Hopeless(Careless):
    harms = 2


def test_a_harmed_upload_is_found_discarded_and_made_again(
    home: Path, files: Path, tmp_path: Path
) -> None:
    store = Careless(tmp_path / "store")
    with open_registry(home, artifacts=store) as registry:
        declare(registry)
        assert registry.file_version(version_record(1), files).state == "registered"
        registry.artifact_path("assistant", 1)
    assert store.calls == [
        "start_run",
        "upload",
        "discard",
        "upload",
        "create_version",
        "finish_run",
    ]


def test_a_store_that_harms_every_upload_files_nothing(
    home: Path, files: Path, tmp_path: Path
) -> None:
    store = Hopeless(tmp_path / "store")
    with open_registry(home, artifacts=store) as registry:
        declare(registry)
        with pytest.raises(DigestMismatch, match=r"lori\.safetensors"):
            registry.file_version(version_record(1), files)
        assert registry.version("assistant", 1).state == "uploaded"
        assert "create_version" not in store.calls
        assert registry.file_version(version_record(1), files).state == "registered"


def test_a_version_half_filed_has_no_files_to_hand_out(
    home: Path, files: Path, folder: FolderArtifacts
) -> None:
    def interrupt(state: str) -> None:
        raise Interrupted

    with open_registry(home, artifacts=folder) as registry:
        declare(registry)
        with pytest.raises(Interrupted):
            registry.file_version(version_record(1), files, on_step=interrupt)
        with pytest.raises(BadInput, match="`lori run` goes on filing it"):
            registry.artifact_path("assistant", 1)
