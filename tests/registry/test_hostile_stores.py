"""Hostile URIs and migration states give one clear line, no trace, and no file outside the store."""

import contextlib
import json
import os
import shutil
import sqlite3
from pathlib import Path
from urllib.parse import quote

import numpy as np
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from folder_artifacts import FolderArtifacts
from hostile import anything, names, nested, printable, share
from hypothesis import example, given
from hypothesis import strategies as st
from registry_examples import declare, version_record, write_files
from safetensors.numpy import save_file
from sqlalchemy import text

from lori_core.errors import BadInput, LoriError
from lori_core.peft_folder import read_peft_folder
from registry.outbox import add
from registry.remote import RemoteDesk
from registry.settings import REGISTRY_VARIABLE, TRACKING_VARIABLE, find_settings
from registry.signing import SIGNATURE, check_folder, sign_folder
from registry.store import open_registry
from registry.vllm_client import VllmServer


def files_under(root: Path) -> frozenset[str]:
    return frozenset(str(path.relative_to(root)) for path in root.rglob("*"))


def told(error: LoriError) -> None:
    line = str(error)
    assert "\n" not in line
    assert "secret" not in line


@pytest.fixture(scope="module")
def filed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a home in which one version is filed; it is copied, never used."""
    root = tmp_path_factory.mktemp("filed")
    with open_registry(root / ".lori", artifacts=FolderArtifacts(root / "store")) as registry:
        declare(registry)
        registry.file_version(version_record(1), write_files(root / "files"))
    return root


SCHEMES = ["postgresql", "postgres", "sqlite", "mysql", "file", "http", "javascript", "", "x" * 300]
ENDS = [
    "", "//", "://", ":///", "://[::1", "://[::1]:99999/x", "://u:secret@127.0.0.1:1/x",
    "://u:secret@127.0.0.1:1/x?options=-c%20x", "://u:secret@127.0.0.1:1/x?sslmode=odd",
    "://u:secret@127.0.0.1:1/x?nothing=1", "://u:secret@127.0.0.1:port/x", "+odd://127.0.0.1/x",
    "+psycopg2://127.0.0.1:1/x", "://127.0.0.1:0/x", "://127.0.0.1:1/%00", ":///:memory:",
    "://u:secret@@127.0.0.1:1/x", "://127.0.0.1:1/x#fragment", "://%zz", ":///\x00", "://\ud800",
]  # fmt: skip

uris = st.one_of(
    st.builds(
        lambda scheme, end: scheme + end, st.sampled_from(SCHEMES), st.sampled_from(ENDS)
    ).filter(lambda uri: not uri.startswith("file:///")),
    names.filter(lambda name: "sqlite" not in name),
)


@share(0.04)
@given(uri=uris, variable=st.sampled_from([REGISTRY_VARIABLE, TRACKING_VARIABLE]))
@example(uri="postgresql://u:secret@127.0.0.1:1/x?nothing=1", variable=REGISTRY_VARIABLE)
@example(uri="postgresql://::1", variable=REGISTRY_VARIABLE)
def test_a_hostile_store_is_refused(
    uri: str, variable: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    if "\x00" in uri or "\ud800" in uri or len(uri) > 10_000:  # no environment holds these
        return
    jail = tmp_path_factory.mktemp("jail")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(jail)
        patch.setenv(variable, uri)
        try:
            find_settings(jail / ".lori")
            if variable == REGISTRY_VARIABLE and uri:
                open_registry(jail / ".lori").close()
        except LoriError as error:
            told(error)
        outside = [path for path in files_under(jail) if not path.startswith(".lori")]
    assert outside == []


@share(0.02)
@given(uri=uris)
def test_a_hostile_address_is_refused(uri: str, tmp_path_factory: pytest.TempPathFactory) -> None:
    for ask in (
        lambda: RemoteDesk(uri, None).sequences(),
        lambda: VllmServer(uri).names(),
    ):
        with pytest.raises(LoriError) as refusal:
            ask()
        told(refusal.value)


@share(0.01)
@given(uri=names.filter(lambda name: not name.startswith("http")))
def test_a_hostile_webhook_is_refused(uri: str, filed: Path) -> None:
    with open_registry(filed / ".lori") as registry:
        with pytest.raises(LoriError) as refusal:
            add(registry, "ops", uri)
        told(refusal.value)


@share(0.03)
@given(
    place=st.one_of(
        names,
        st.sampled_from(
            ["file:///etc", "file://[", "/etc", "../../..", "folder://../../nowhere", "models:/x/1",
             "mlflow-artifacts:/../../etc", "cells/../../..", "file:///proc/self"]
        ),
    ),
    listed=st.one_of(names, st.sampled_from(["/etc/passwd", "../../etc/passwd", "x/../../y"])),
)  # fmt: skip
def test_files_are_never_taken_from_elsewhere(
    place: str, listed: str, filed: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Whatever our own rows were made to say: what is used is what was certified, or nothing."""
    if "\ud800" in place + listed or not place:
        return
    root = tmp_path_factory.mktemp("rows")
    shutil.copytree(filed / ".lori", root / ".lori")
    before = files_under(root)
    with open_registry(root / ".lori", artifacts=FolderArtifacts(root / "store")) as registry:
        with registry._database.writing() as session:
            if len(listed) < 5000:
                manifest = '{"files": {"%s": {"sha256": "%s", "size": 1}}}'
                session.execute(
                    text("UPDATE adapters SET manifest = :manifest"),
                    {
                        "manifest": manifest
                        % (quote(listed, safe="/.").replace("%2F", "/"), "0" * 64)
                    },
                )
            session.execute(text("UPDATE versions SET artifact_uri = :uri"), {"uri": place})
        with pytest.raises(
            (LoriError, FileNotFoundError)
        ) as refusal:  # a stand-in's own, if it fetches
            registry.artifact_path("assistant", 1)
        assert "\n" not in str(refusal.value)
    kept = {path for path in files_under(root) - before if not path.startswith(".lori/cache")}
    assert {path for path in kept if "registry.db-" not in path} == set()


STATES = st.one_of(
    st.binary(max_size=300).map(lambda junk: ("bytes", junk)),
    st.integers(1, 40_000).map(lambda size: ("cut", size)),
    st.tuples(st.just("overwrite"), st.integers(0, 60_000), st.binary(min_size=1, max_size=64)),
    names.map(lambda name: ("revision", [name])),
    st.lists(st.sampled_from(["0001", "0002", "0003", "0004", "0005", "", "head"]), max_size=3).map(
        lambda found: ("revision", found)
    ),
    st.sampled_from(
        [
            ("sql", "DROP TABLE promotion_events"),
            ("sql", "DROP TABLE sequences"),
            ("sql", "ALTER TABLE versions RENAME COLUMN run_id TO x"),
            ("sql", "DROP TABLE alembic_version_lori"),
            ("sql", "ALTER TABLE alembic_version_lori RENAME COLUMN version_num TO x"),
            (
                "sql",
                "DROP TABLE alembic_version_lori; CREATE VIEW alembic_version_lori AS SELECT 1",
            ),
            ("sql", "DROP TABLE accounts; CREATE VIEW accounts AS SELECT 1 AS id"),
            ("sql", "UPDATE alembic_version_lori SET version_num = '0001'"),
            ("sql", "UPDATE alembic_version_lori SET version_num = x'ff00'"),
        ]
    ),
)


@share(0.1)
@given(state=STATES)
@example(state=("sql", "DROP TABLE sequences"))
@example(state=("sql", "UPDATE alembic_version_lori SET version_num = '0001'"))
@example(state=("revision", ["0004"]))
def test_a_hostile_migration_state_is_refused_or_read(
    state: tuple[object, ...], filed: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    root = tmp_path_factory.mktemp("state")
    shutil.copytree(filed / ".lori", root / ".lori")
    shutil.copytree(filed / "store", root / "store")
    spoil(root / ".lori" / "registry.db", state)
    before = files_under(root)
    try:
        with open_registry(root / ".lori", artifacts=FolderArtifacts(root / "store")) as registry:
            for sequence in registry.sequences():
                registry.versions(sequence)
                registry.cells(sequence)
                registry.sequence(sequence)
    except LoriError as error:
        told(error)
    assert {
        path for path in files_under(root) - before if not path.startswith(".lori/registry.db")
    } == set()


def signed_folder(root: Path) -> Path:
    folder = root / "bundle"
    folder.mkdir()
    (folder / "bundle.json").write_text("{}")
    sign_folder(folder, Ed25519PrivateKey.generate())
    return folder


SIGNED = ("format", "algorithm", "public_key", "fingerprint", "files", "signature")


@share(0.1)
@given(key=st.sampled_from([*SIGNED, "files.bundle.json"]), value=anything)
@example(key="files", value=[])
@example(key="files", value=5)
@example(key="public_key", value=[1])
def test_a_hostile_signature_is_no_signature(
    key: str, value: object, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = signed_folder(tmp_path_factory.mktemp("signed"))
    said = json.loads((folder / SIGNATURE).read_text())
    if key in said:
        said[key] = value
    else:
        said["files"]["bundle.json"] = value
    (folder / SIGNATURE).write_text(json.dumps(said))
    faults = check_folder(folder).faults
    assert faults
    assert all(printable(fault) for fault in faults)


@share(0.02)
@given(document=nested)
@example(document="[" * 200_000)
@example(document='{"\\u001b[2J": 1}')
def test_a_signature_that_is_no_document_is_none(
    document: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = signed_folder(tmp_path_factory.mktemp("nested"))
    (folder / SIGNATURE).write_text(document)
    assert check_folder(folder).faults[0].startswith(f"{SIGNATURE}: is no signature of ours")


@pytest.fixture(scope="module")
def peft(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A plain LoRA that would be taken; it is copied, never changed."""
    folder = tmp_path_factory.mktemp("peft")
    tensors = {
        "base_model.model.q.lora_A.weight": np.zeros((2, 3), "f4"),
        "base_model.model.q.lora_B.weight": np.zeros((3, 2), "f4"),
    }
    save_file(tensors, folder / "adapter_model.safetensors")
    settings = {"peft_type": "LORA", "r": 2, "lora_alpha": 4}
    (folder / "adapter_config.json").write_text(json.dumps(settings))
    assert read_peft_folder(folder).r == 2
    return folder


LOOKED_AT = (
    "peft_type", "task_type", "r", "lora_alpha", "bias", "init_lora_weights", "modules_to_save",
    "rank_pattern", "alpha_pattern", "base_model_name_or_path", "use_dora", "of nobody",
)  # fmt: skip


@share(0.1)
@given(key=st.sampled_from([*LOOKED_AT, "labels"]), value=anything)
@example(key="rank_pattern", value=[1])
@example(key="alpha_pattern", value=5)
@example(key="modules_to_save", value=5)
@example(key="modules_to_save", value={"a": 1})
@example(key="labels", value=5)
def test_a_hostile_adapter_is_taken_as_plain_or_refused(
    key: str, value: object, peft: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = Path(shutil.copytree(peft, tmp_path_factory.mktemp("peft") / "copy"))
    place = folder / ("lori.json" if key == "labels" else "adapter_config.json")
    said = json.loads(place.read_text()) if place.exists() else {}
    place.write_text(json.dumps({**said, key: value}))
    try:
        read_peft_folder(folder)
    except LoriError as error:
        told(error)


@share(0.02)
@given(document=nested, name=st.sampled_from(["adapter_config.json", "lori.json"]))
@example(document="[" * 200_000, name="adapter_config.json")
@example(document="[" * 200_000, name="lori.json")
def test_settings_of_an_adapter_that_are_no_document_are_refused(
    document: str, name: str, peft: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = Path(shutil.copytree(peft, tmp_path_factory.mktemp("peft") / "copy"))
    (folder / name).write_text(document)
    with pytest.raises(BadInput, match=name) as refusal:
        read_peft_folder(folder)
    told(refusal.value)


def spoil(place: Path, state: tuple[object, ...]) -> None:
    kind, what = state[0], state[1]
    for tail in ("-wal", "-shm"):
        with contextlib.suppress(FileNotFoundError):
            Path(f"{place}{tail}").unlink()
    if kind == "bytes":
        assert isinstance(what, bytes)
        place.write_bytes(what)
    elif kind == "cut":
        assert isinstance(what, int)
        os.truncate(place, min(what, place.stat().st_size))
    elif kind == "overwrite":
        assert isinstance(what, int)
        assert isinstance(state[2], bytes)
        with place.open("r+b") as file:
            file.seek(what)
            file.write(state[2])
    else:
        with contextlib.closing(sqlite3.connect(place)) as connection:
            if kind == "sql":
                assert isinstance(what, str)
                connection.executescript(what)
            else:
                assert isinstance(what, list)
                connection.execute("DELETE FROM alembic_version_lori")
                for revision in dict.fromkeys(what):
                    if "\ud800" not in revision:
                        connection.execute(
                            "INSERT INTO alembic_version_lori VALUES (?)", (revision,)
                        )
            connection.commit()
