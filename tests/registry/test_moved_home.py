"""A home that was moved or copied serves from where it is, and never touches where it was."""

import shutil
import sqlite3
from pathlib import Path

import pytest
from registry_examples import version_record, write_files

from registry.mlflow_artifacts import MlflowArtifacts
from registry.moved_home import PLACES, follow, repoint
from registry.settings import Settings, find_settings, switch_telemetry_off
from registry.store import open_registry
from tests.forked import Fork

switch_telemetry_off()

from mlflow import MlflowClient  # noqa: E402


def client(home: Path) -> MlflowClient:
    uri = f"sqlite:///{home / 'mlflow.db'}"
    return MlflowClient(uri, uri)


def places(home: Path) -> set[str]:
    """Every place of files that MLflow's store of a home knows."""
    with sqlite3.connect(home / "mlflow.db") as store:
        return {
            place
            for table, column in PLACES
            for (place,) in store.execute(f"SELECT {column} FROM {table}")
        }


def contents(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


@pytest.fixture
def copied(filing_home: Path, files: Path, tmp_path: Path) -> Path:
    """A copy, under an awkward name, of a home with one version and a stranger's experiment."""
    with open_registry(filing_home) as registry:
        registry.file_version(version_record(1), files)
    strangers = client(filing_home)
    strangers.create_experiment("lori-mine", artifact_location="file:///elsewhere/of/mine")
    strangers.create_experiment("other", artifact_location=f"{filing_home.as_uri()}/mlartifacts/x")
    return Path(shutil.copytree(filing_home, tmp_path / "a copy #2 50%_é" / "home"))


def test_a_copied_home_is_served_from_and_filed_in_where_it_is(
    filing_home: Path, copied: Path, tmp_path: Path
) -> None:
    before = contents(filing_home)
    with open_registry(copied) as registry:
        first = registry.version("assistant", 1)
        second = registry.file_version(
            version_record(2), write_files(tmp_path / "second", "second")
        )
        registry.base_version("assistant")
    assert contents(filing_home) == before, "the old home was written"

    shutil.rmtree(filing_home)
    mlflow, here = client(copied), copied.as_uri()
    for filed in (first, second):
        assert mlflow.get_logged_model(filed.model_id).artifact_location.startswith(here)
        uri = mlflow.get_model_version_download_uri("lori-assistant", str(filed.model_version))
        assert uri.startswith(here)
        assert [file.path for file in mlflow.list_artifacts(filed.run_id)] == ["manifest.json"]
    assert not filing_home.exists()


def test_what_is_not_ours_keeps_its_place(filing_home: Path, copied: Path) -> None:
    with open_registry(copied):
        pass
    mlflow = client(copied)
    mine = mlflow.get_experiment_by_name("lori-mine").artifact_location
    other = mlflow.get_experiment_by_name("other").artifact_location
    assert mine == "file:///elsewhere/of/mine"
    assert other.startswith(f"{copied.as_uri()}/mlartifacts/"), "it lay in the home, and does"


def test_a_home_that_is_where_it_was_is_left_alone(
    filing_home: Path, copied: Path, tmp_path: Path
) -> None:
    before = (filing_home / "mlflow.db").read_bytes()
    with open_registry(filing_home):
        pass
    other_way = tmp_path / "link"
    other_way.symlink_to(filing_home)
    with open_registry(other_way):
        pass
    assert (filing_home / "mlflow.db").read_bytes() == before


def test_a_store_outside_the_home_is_another_homes_too_and_is_left_alone(
    copied: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shared = tmp_path / "shared.db"
    shutil.copy(copied / "mlflow.db", shared)
    before = shared.read_bytes(), (copied / "mlflow.db").read_bytes()
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{shared}")
    with open_registry(copied):
        pass
    assert (shared.read_bytes(), (copied / "mlflow.db").read_bytes()) == before


def test_a_copy_of_a_copy_follows_too_and_two_at_once_do_it_once(
    filing_home: Path, copied: Path, tmp_path: Path
) -> None:
    with open_registry(copied):
        pass
    again = Path(shutil.copytree(copied, tmp_path / "again"))
    both = [Fork(target=follow, args=(find_settings(again),)) for _ in range(2)]
    for each in both:
        each.start()
    for each in both:
        each.join()
    assert [each.exitcode for each in both] == [0, 0]
    ours = {place for place in places(again) if "/assistant" in place or "/lori-assistant" in place}
    assert ours
    assert all(place.startswith(f"{again.as_uri()}/") for place in ours)


def test_nothing_is_asked_of_mlflow_before_it_follows(copied: Path) -> None:
    """Whoever has only MLflow's side open still never writes where the home was."""
    MlflowArtifacts(find_settings(copied))
    assert repoint(find_settings(copied)) == ()


@pytest.mark.parametrize("store", [b"", b"no database"])
def test_a_store_that_cannot_be_read_hinders_no_reader(home: Path, store: bytes) -> None:
    with open_registry(home):
        pass
    (home / "mlflow.db").write_bytes(store)
    with open_registry(home) as registry:
        assert registry.sequences() == ()
    assert (home / "mlflow.db").read_bytes() == store


def test_no_rows_are_moved_by_a_look(copied: Path) -> None:
    settings: Settings = find_settings(copied)
    assert len(repoint(settings)) == 1
    assert repoint(settings) == ()
