"""Aliases and tags in a real MLflow store, and the bare base as a version of it."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from registry_examples import version_record

from lori_core.errors import BadInput, CheckFailed
from registry.settings import switch_telemetry_off
from registry.store import Registry, open_registry

switch_telemetry_off()

from mlflow import MlflowClient  # noqa: E402

MODEL = "lori-assistant"


@pytest.fixture
def filed(filing_home: Path, files: Path) -> Iterator[Registry]:
    with open_registry(filing_home) as registry:
        registry.file_version(version_record(1), files)
        yield registry


def client(registry: Registry) -> MlflowClient:
    uri = registry.settings.tracking_uri
    return MlflowClient(uri, uri)


def test_an_alias_points_where_it_was_set_and_nowhere_once_it_is_deleted(filed: Registry) -> None:
    aliases = filed.aliases()
    assert aliases.get_alias(MODEL, "champion") is None
    aliases.set_alias(MODEL, "champion", 1)
    assert aliases.get_alias(MODEL, "champion") == 1
    assert int(client(filed).get_model_version_by_alias(MODEL, "champion").version) == 1
    aliases.delete_alias(MODEL, "champion")
    aliases.delete_alias(MODEL, "champion")
    assert aliases.get_alias(MODEL, "champion") is None


def test_tags_of_a_model_are_added_and_replaced(filed: Registry) -> None:
    aliases = filed.aliases()
    aliases.set_model_tags(MODEL, {"lori.log_length": "1", "lori.log_head": "a"})
    aliases.set_model_tags(MODEL, {"lori.log_length": "2"})
    assert aliases.model_tags(MODEL) == {
        "sequence": "assistant",
        "lori.log_length": "2",
        "lori.log_head": "a",
    }
    assert aliases.model_tags("lori-unknown") == {}


def test_a_version_serves_its_upload_and_no_other(filed: Registry) -> None:
    aliases, ours = filed.aliases(), filed.version("assistant", 1)
    assert ours.model_id is not None
    assert aliases.serves(MODEL, 1, ours.model_id)
    assert not aliases.serves(MODEL, 1, "m-other")
    assert not aliases.serves(MODEL, 7, ours.model_id)
    assert not aliases.serves("lori-unknown", 1, ours.model_id)


def test_what_mlflow_lost_is_one_line(filed: Registry) -> None:
    aliases = filed.aliases()
    with pytest.raises(CheckFailed, match="knows no lori-assistant version 7"):
        aliases.set_alias(MODEL, "champion", 7)
    with pytest.raises(CheckFailed, match="knows no lori-unknown"):
        aliases.set_model_tags("lori-unknown", {"a": "b"})
    assert aliases.get_alias("lori-unknown", "champion") is None


def test_setting_an_alias_reads_no_versions(
    filed: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The client would load every version of the model: its cost must not come back unseen."""
    from sqlalchemy import event
    from sqlalchemy.engine import Engine

    aliases, said = filed.aliases(), []

    def listen(connection: object, cursor: object, statement: str, *rest: object) -> None:
        said.append(" ".join(statement.split()))

    event.listen(Engine, "before_cursor_execute", listen)
    try:
        aliases.set_alias(MODEL, "champion", 1)
        aliases.set_model_tags(MODEL, {"lori.log_length": "1"})
        aliases.get_alias(MODEL, "champion")
    finally:
        event.remove(Engine, "before_cursor_execute", listen)
    versions = [text for text in said if "FROM model_versions" in text]
    assert said
    assert all("model_versions.version = ?" in text for text in versions)


def test_the_bare_base_is_filed_once_and_an_alias_can_point_at_it(filed: Registry) -> None:
    number = filed.base_version("assistant")
    assert number == 2
    assert filed.base_version("assistant") == number
    stored = client(filed).search_model_versions(f"name = '{MODEL}'")
    assert sorted(int(version.version) for version in stored) == [1, 2]
    filed.aliases().set_alias(MODEL, "champion", number)
    assert filed.aliases().get_alias(MODEL, "champion") == number
    assert [version.version for version in filed.versions("assistant")] == [1]


def test_without_a_filed_version_there_is_no_bare_base_to_serve(filing_home: Path) -> None:
    with open_registry(filing_home) as registry, pytest.raises(BadInput, match="a filed version"):
        registry.base_version("assistant")
