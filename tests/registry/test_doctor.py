"""Real MLflow stores, harmed in the ways MLflow allows; the doctor finds each, and mends what can be."""

import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from registry_examples import cell, declare, die, killed_or_done, version_record, write_files
from sqlalchemy import text

from lori_core.digests import sha256_json
from registry import doctor, troubles
from registry.decision_models import IMMUTABLE
from registry.decisions import Finding
from registry.outbox import add
from registry.settings import switch_telemetry_off
from registry.store import Registry, open_registry

switch_telemetry_off()

from mlflow import MlflowClient  # noqa: E402
from mlflow.entities import ViewType  # noqa: E402

from registry.mlflow_connection import process_wide  # noqa: E402

MODEL = "lori-assistant"


@pytest.fixture
def filed(filing_home: Path, tmp_path: Path) -> Iterator[Registry]:
    """Two versions, filed."""
    with open_registry(filing_home) as registry:
        for number in (1, 2):
            files = write_files(tmp_path / str(number), str(number))
            registry.file_version(version_record(number), files)
        assert doctor.examine(registry) == ()
        yield registry


def client(registry: Registry) -> MlflowClient:
    uri = registry.settings.tracking_uri
    return MlflowClient(uri, uri)


def kinds(findings: tuple[Finding, ...]) -> list[tuple[str, str]]:
    return [(each.what, each.where) for each in findings]


def mended(registry: Registry) -> list[tuple[str, str]]:
    """Repair everything; what was found. Nothing may be left, and every byte must be right."""
    found = doctor.examine(registry)
    after = doctor.repair(registry, found)
    assert [each for each in after if not each.mended] == []
    assert doctor.examine(registry) == ()
    for version in registry.versions("assistant"):
        registry.artifact_path("assistant", version.version)
        stored = client(registry).get_model_version(MODEL, str(version.model_version))
        assert stored.source == f"models:/{version.model_id}"
    return kinds(found)


def test_what_was_registered_half_is_told_and_lori_run_ends_it(
    filing_home: Path, files: Path
) -> None:
    def filing() -> None:
        with open_registry(filing_home) as registry:
            registry.file_version(
                version_record(1),
                files,
                on_step=lambda state: die() if state == "uploaded" else None,
            )

    assert killed_or_done(filing) == -9
    with open_registry(filing_home) as registry:
        (finding,) = doctor.examine(registry)
        assert (finding.what, finding.where) == ("half-registered", "assistant/1")
        assert "`lori run FILE`" in finding.remedy
        assert doctor.repair(registry, (finding,)) == (finding,), "the files are not ours to give"
        registry.file_version(version_record(1), files)
        assert doctor.examine(registry) == ()


def test_a_deleted_registered_model_is_made_again_around_the_same_files(filed: Registry) -> None:
    client(filed).delete_registered_model(MODEL)
    assert mended(filed) == [("model-deleted", "assistant/1"), ("model-deleted", "assistant/2")]


def test_a_name_that_was_used_again_is_told_by_content_and_not_by_number(filed: Registry) -> None:
    """MLflow counts from 1 again: our version 1 would be somebody else's files."""
    mlflow = client(filed)
    mlflow.delete_registered_model(MODEL)
    mlflow.create_registered_model(MODEL)
    mlflow.create_model_version(MODEL, source="s3://somewhere/else")
    found = doctor.examine(filed)
    assert kinds(found) == [
        ("model-recreated", "assistant/1"),
        ("model-deleted", "assistant/2"),
        ("foreign-version", "assistant/version-1"),
    ]
    left = [each for each in doctor.repair(filed, found) if not each.mended]
    assert kinds(tuple(left)) == [("foreign-version", "assistant/version-1")]
    assert filed.version("assistant", 1).model_version == 2


def test_deleted_uploads_runs_and_experiments_are_saved_from_gc(filed: Registry) -> None:
    mlflow = client(filed)
    first, second = filed.versions("assistant")
    assert first.model_id is not None
    assert second.run_id is not None
    mlflow.delete_logged_model(first.model_id)
    mlflow.delete_run(second.run_id)
    assert mended(filed) == [
        ("gc-risk", "assistant/1/files"),
        ("gc-risk", "assistant/2/run"),
    ]
    assert filed.version("assistant", 1).model_id != first.model_id
    mlflow.delete_experiment(mlflow.get_experiment_by_name(MODEL).experiment_id)
    assert mended(filed) == [("gc-risk", "assistant/experiment")]


def test_a_lost_mlflow_store_is_filled_again_from_the_files(filed: Registry) -> None:
    home = filed.settings.home
    for left in home.glob("mlflow.db*"):
        left.unlink()
    script = (
        "from pathlib import Path\n"
        "from registry import doctor\n"
        "from registry.store import open_registry\n"
        f"with open_registry(Path({str(home)!r})) as registry:\n"
        "    found = doctor.examine(registry)\n"
        "    assert {each.what for each in found} == {'run-lost', 'gc-risk'}, found\n"
        "    after = doctor.repair(registry, found)\n"
        "    assert all(each.mended for each in after if each.mendable), after\n"
        "    assert doctor.examine(registry) == ()\n"
        "    registry.artifact_path('assistant', 2)\n"
    )  # in a process of its own: MLflow keeps its connections to the old file
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


def test_changed_and_missing_files_are_named_and_left_to_a_backup(filed: Registry) -> None:
    first, second = (filed.artifact_path("assistant", number) for number in (1, 2))
    (first / "lori.safetensors").write_bytes(b"harmed")
    whole = (second / "certificate.json").read_bytes()
    (second / "certificate.json").unlink()
    found = doctor.examine(filed)
    assert kinds(found) == [("digest", "assistant/1"), ("digest", "assistant/2")]
    assert "lori.safetensors" in found[0].detail
    assert not any(each.mendable for each in found)
    assert doctor.repair(filed, found) == found
    (second / "certificate.json").write_bytes(whole)
    assert kinds(doctor.examine(filed)) == [("digest", "assistant/1")]


def test_what_a_retried_request_doubled_is_taken_out_of_use(filed: Registry) -> None:
    version = filed.version("assistant", 1)
    mlflow = client(filed)
    with process_wide(filed.settings.tracking_uri):
        mlflow.create_model_version(
            MODEL, f"models:/{version.model_id}", tags={"key": version.idem_key}
        )
    experiment = mlflow.get_experiment_by_name(MODEL).experiment_id
    mlflow.create_run(experiment, tags={"key": version.idem_key})
    mlflow.create_logged_model(
        experiment, name=MODEL, tags={"key": version.idem_key, "model_name": MODEL}
    )
    assert [what for what, _ in mended(filed)] == ["doubled-version", "orphan-upload", "orphan-run"]
    runs = mlflow.search_runs([experiment], run_view_type=ViewType.ACTIVE_ONLY)
    assert {run.info.run_id for run in runs} == {v.run_id for v in filed.versions("assistant")}


def test_what_nobody_we_know_began_is_left_alone_until_it_is_old(
    filed: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    mlflow = client(filed)
    experiment = mlflow.get_experiment_by_name(MODEL).experiment_id
    mlflow.create_run(experiment)
    mlflow.create_logged_model(experiment, name=MODEL)
    assert doctor.examine(filed) == ()
    monkeypatch.setattr(troubles, "PATIENCE", timedelta(0))
    assert [what for what, _ in mended(filed)] == ["orphan-upload", "orphan-run"]


def test_an_alias_that_somebody_moved_is_put_back(filed: Registry) -> None:
    filed.aliases().set_alias(MODEL, "champion", 2)
    assert mended(filed) == [("alias-drift", "assistant@champion")]
    assert filed.aliases().get_alias(MODEL, "champion") is None


def test_a_certificate_that_claims_what_is_not_so_is_told_though_every_digest_fits(
    filing_home: Path, files: Path
) -> None:
    record = version_record(1)
    document = {**record.certificate.document, "base": {"digest": "f" * 64}}
    forged = replace(record.certificate, document=document, sha256=sha256_json(document))
    with open_registry(filing_home) as registry:
        registry.file_version(replace(record, certificate=forged), files)
        (found,) = doctor.examine(registry)
    assert (found.what, found.where, found.mendable) == ("record", "assistant/1", False)
    assert "another base" in found.detail


def test_answers_that_gates_test_on_must_be_those_that_were_scored(filed: Registry) -> None:
    filed.record_cell(cell(1, "safety"))
    (found,) = doctor.examine(filed)
    assert (found.what, found.where) == ("predictions", "assistant/1/inherited/safety")
    assert "missing" in found.detail
    assert not found.mendable


def test_secrets_that_others_on_the_machine_can_read_are_told(registry: Registry) -> None:
    home = registry.settings.home
    home.chmod(0o755)
    assert doctor.examine(registry) == ()  # nothing secret is in it
    add(registry, "chat", "http://127.0.0.1:9/hook")
    (found,) = doctor.examine(registry)
    assert (found.what, found.where, found.mendable) == ("open-home", str(home), False)
    assert f"chmod 700 {home}" in found.remedy
    assert doctor.repair(registry, (found,)) == (found,)
    home.chmod(0o700)
    assert doctor.examine(registry) == ()


def test_a_sequence_without_versions_asks_nothing_of_mlflow(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with open_registry(home) as registry:
        declare(registry)
        monkeypatch.setattr(registry, "stockroom", None)
        assert doctor.examine(registry) == ()


@pytest.mark.parametrize("how", ["dropped", "of no effect"])
def test_dropped_triggers_are_found_and_made_again(
    database_kind: str, filing_home: Path, how: str
) -> None:
    with open_registry(filing_home) as registry:
        assert kinds(doctor.examine(registry)) == [], "what the migrations made is what is wanted"
        sqlite = registry._database.is_sqlite
        if sqlite:
            name = "promotion_events_refuses_delete"
            statements = [f"DROP TRIGGER {name}"]
            if how == "of no effect":
                statements.append(
                    f"CREATE TRIGGER {name} BEFORE DELETE ON promotion_events BEGIN SELECT 1; END"
                )
        else:
            name = "promotion_events_refuses_change"
            statements = (
                [f"DROP TRIGGER {name} ON promotion_events"]
                if how == "dropped"
                else [f"ALTER TABLE promotion_events DISABLE TRIGGER {name}"]
            )
        with registry._database.engine.begin() as connection:
            for statement in statements:
                connection.execute(text(statement))
        (finding,) = doctor.examine(registry)
        assert (finding.what, finding.where) == ("unguarded-table", "promotion_events")
        assert (name in finding.detail, finding.mendable) == (True, True)
        assert [each.mended for each in doctor.repair(registry, (finding,))] == [True]
        assert doctor.examine(registry) == ()


@pytest.mark.slow
def test_a_trigger_s_function_that_does_nothing_is_found_and_made_again(
    url: str, filing_home: Path
) -> None:
    with open_registry(filing_home) as registry:
        with registry._database.engine.begin() as connection:
            connection.execute(
                text(
                    "CREATE OR REPLACE FUNCTION lori_keeps_rows() RETURNS trigger LANGUAGE plpgsql"
                    " AS $$ BEGIN RETURN OLD; END $$"
                )
            )
        found = doctor.examine(registry)
        assert {each.where for each in found} == {*IMMUTABLE}
        assert all(each.mended for each in doctor.repair(registry, found))
        assert doctor.examine(registry) == ()
