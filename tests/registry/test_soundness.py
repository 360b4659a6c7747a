import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from folder_artifacts import FolderArtifacts
from sound_versions import certified_task, declare_tasks, file_sound, sound_record
from sqlalchemy import text

from lori_core.digests import sha256_json
from lori_core.errors import BadInput
from registry.artifacts import local_folder
from registry.soundness import faults
from registry.store import Registry, open_registry

FILES = (
    "lori.safetensors",
    "certificate.json",
    "adapter/adapter_config.json",
    "adapter/adapter_model.safetensors",
)


@pytest.fixture
def filed(home: Path, folder: FolderArtifacts, tmp_path: Path) -> Iterator[Registry]:
    with open_registry(home, artifacts=folder) as registry:
        declare_tasks(registry)
        file_sound(registry, tmp_path / "made", *(sound_record(k) for k in (1, 2, 3)))
        yield registry


def path_of(registry: Registry, version: int, name: str) -> Path:
    uri = registry.version("assistant", version).artifact_uri
    assert uri is not None
    found = local_folder(uri, registry.settings.home)
    assert found is not None
    return found / name


def edit(registry: Registry, statement: str, **values: object) -> None:
    with registry._database.writing() as session:
        assert session.execute(text(statement), values).rowcount >= 1  # type: ignore[attr-defined]


def edited_certificate(
    registry: Registry, version: int, *, resealed: bool, **changes: object
) -> None:
    """Edit a certificate's row; `resealed`: with a digest that fits the edit."""
    document = {**registry.certificate("assistant", version).document, **changes}
    edit(registry, "UPDATE certificates SET document = :d WHERE number = :k",
         d=json.dumps(document), k=version)  # fmt: skip
    if resealed:
        edit(registry, "UPDATE certificates SET sha256 = :s WHERE number = :k",
             s=sha256_json(document), k=version)  # fmt: skip


def test_what_was_filed_and_left_alone_is_sound(filed: Registry) -> None:
    assert faults(filed, "assistant", 3) == ()


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("version", [1, 3])
def test_one_flipped_bit_of_any_file_is_found_and_named(
    filed: Registry, name: str, version: int
) -> None:
    path = path_of(filed, version, name)
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(bytes(data))
    (found,) = faults(filed, "assistant", 3)
    assert found.startswith(f"assistant/{version}: ")
    assert name in found


def test_a_later_version_does_not_make_an_earlier_one_unsound(filed: Registry) -> None:
    path_of(filed, 3, "lori.safetensors").write_bytes(b"other")
    assert faults(filed, "assistant", 2) == ()
    assert len(faults(filed, "assistant", 3)) == 1


@pytest.mark.parametrize("name", FILES)
def test_a_file_that_is_gone_is_found(filed: Registry, name: str) -> None:
    path_of(filed, 2, name).unlink()
    (found,) = faults(filed, "assistant", 3)
    assert name in found
    assert "missing" in found


def test_a_file_that_was_added_is_found(filed: Registry) -> None:
    path_of(filed, 2, "adapter/more.bin").write_bytes(b"x")
    (found,) = faults(filed, "assistant", 2)
    assert "more.bin" in found


def test_an_edited_certificate_row_is_found_even_with_a_digest_that_fits(filed: Registry) -> None:
    edited_certificate(filed, 2, resealed=False, level="G0")
    assert any(
        "certificate is not the one that was filed" in each
        for each in faults(filed, "assistant", 2)
    )
    edited_certificate(filed, 2, resealed=True, level="G0")
    assert any("differ in certificate_sha256" in each for each in faults(filed, "assistant", 2))


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"base": {"digest": "f" * 64}}, "another base"),
        ({"version": 7}, "each task once"),
        ({"tasks": []}, "each task once"),
        ({"tasks": None}, "each task once"),
        ({"read": "cumulative"}, "level or read mode"),
        ({"protection": "overlap"}, "claims G2, beyond"),
        ({"protection": "hope"}, "no protection"),
        ({"previous": None}, "does not follow"),
        ({"tasks": [certified_task(2), certified_task(1)]}, "each task once"),
        ({"tasks": [certified_task(1), {**certified_task(2), "content": "0"}]}, "another adapter"),
        ({"tasks": [certified_task(1), {**certified_task(2), "masks": {}}]}, "another mask"),
        ({"tasks": [certified_task(1), {**certified_task(2), "task": "x"}]}, "of task 'x'"),
        ({"tasks": [{**certified_task(1), "values": {}}, certified_task(2)]}, "(values)"),
    ],
)
def test_a_certificate_that_claims_what_is_not_so_is_found_though_every_digest_was_made_to_fit(
    home: Path, folder: FolderArtifacts, tmp_path: Path, changes: dict[str, object], said: str
) -> None:
    from dataclasses import replace

    record = sound_record(2)
    document = {**record.certificate.document, **changes}
    forged = replace(
        record,
        certificate=replace(record.certificate, document=document, sha256=sha256_json(document)),
    )
    with open_registry(home, artifacts=folder) as registry:
        declare_tasks(registry)
        file_sound(registry, tmp_path / "made", sound_record(1), forged)
        found = faults(registry, "assistant", 2)
    assert found
    assert any(said in each for each in found), found


def test_rows_of_another_adapter_or_mask_are_found(filed: Registry) -> None:
    edit(filed, "UPDATE masks SET sha256 = :s WHERE id = 2", s="0" * 64)
    assert any("mask" in each for each in faults(filed, "assistant", 2))
    edit(filed, "UPDATE adapters SET sha256 = :s WHERE id = 1", s="0" * 64)
    assert any("adapter_sha256" in each for each in faults(filed, "assistant", 2))


def test_an_edited_manifest_does_not_excuse_an_edited_file(filed: Registry) -> None:
    path = path_of(filed, 1, "lori.safetensors")
    path.write_bytes(b"poison")
    with filed._database.writing() as session:
        manifest = json.loads(
            session.execute(text("SELECT manifest FROM adapters WHERE id = 1")).scalar_one()
        )
    from lori_core.digests import sha256_file

    manifest["files"]["lori.safetensors"] = {"sha256": sha256_file(path), "size": 6}
    edit(filed, "UPDATE adapters SET manifest = :m WHERE id = 1", m=json.dumps(manifest))
    assert faults(filed, "assistant", 1) == (
        "assistant/1: its manifest is not the one that was filed",
    )


def test_a_version_that_is_not_filed_is_not_sound(filed: Registry) -> None:
    edit(filed, "UPDATE versions SET state = 'uploaded' WHERE number = 2")
    assert faults(filed, "assistant", 3) == ("assistant/2: it is uploaded, not filed",)


def test_a_version_that_is_not_there_is_refused(filed: Registry) -> None:
    with pytest.raises(BadInput, match="version assistant/9"):
        faults(filed, "assistant", 9)
