import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from folder_artifacts import FolderArtifacts
from sound_versions import certified_task, declare_tasks, file_sound, sound_record
from sqlalchemy import text

from lori_core.digests import sha256_json
from lori_core.errors import BadInput, Unavailable
from registry import artifacts, untouched, verified
from registry.artifacts import local_folder
from registry.soundness import faults, record_faults
from registry.store import Registry, open_registry

FILES = (
    "lori.safetensors",
    "certificate.json",
    "adapter/adapter_config.json",
    "adapter/adapter_model.safetensors",
)


@pytest.fixture
def filed(home: Path, tables: None, folder: FolderArtifacts, tmp_path: Path) -> Iterator[Registry]:
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
        for found in (faults(registry, "assistant", 2), record_faults(registry, "assistant")):
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


# What was checked before


@pytest.fixture
def hashed(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """The files that were hashed; files count as settled at once."""
    monkeypatch.setattr(untouched, "SETTLED_NS", 0)
    seen: list[Path] = []
    real = artifacts.sha256_file

    def watched(path: Path) -> str:
        seen.append(path)
        return real(path)

    monkeypatch.setattr(artifacts, "sha256_file", watched)
    return seen


def memory(registry: Registry) -> Path:
    return registry.settings.home / "checked" / "assistant.jsonl"


def test_an_earlier_version_is_hashed_once_and_the_version_itself_each_time(
    filed: Registry, hashed: list[Path]
) -> None:
    assert faults(filed, "assistant", 3) == ()
    assert len(hashed) == 3 * len(FILES)
    hashed.clear()
    assert faults(filed, "assistant", 3) == ()
    assert {path_of(filed, 3, name) for name in FILES} == set(hashed)


def test_young_files_are_not_remembered(filed: Registry) -> None:
    assert faults(filed, "assistant", 3) == ()
    assert not memory(filed).exists()


@pytest.mark.parametrize("name", FILES)
@pytest.mark.usefixtures("hashed")
def test_an_edit_of_an_earlier_version_s_file_with_its_time_set_back_is_found(
    filed: Registry, name: str
) -> None:
    assert faults(filed, "assistant", 3) == ()
    path = path_of(filed, 1, name)
    before = path.stat()
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(bytes(data))
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert (path.stat().st_size, path.stat().st_mtime_ns) == (before.st_size, before.st_mtime_ns)
    for _ in range(2):  # what is wrong is never remembered
        (found,) = faults(filed, "assistant", 3)
        assert found.startswith("assistant/1: ")
        assert name in found


@pytest.mark.usefixtures("hashed")
def test_files_added_moved_or_gone_from_an_earlier_version_are_found(filed: Registry) -> None:
    assert faults(filed, "assistant", 3) == ()
    added = path_of(filed, 1, "adapter/more.bin")
    added.write_bytes(b"x")
    path_of(filed, 2, "lori.safetensors").rename(path_of(filed, 2, "other.safetensors"))
    first, second = faults(filed, "assistant", 3)
    assert "more.bin" in first
    assert "assistant/2: " in second
    assert "missing" in second


@pytest.mark.usefixtures("hashed")
def test_a_file_changed_for_another_of_the_same_bits_is_hashed_again_and_passes(
    filed: Registry, hashed: list[Path]
) -> None:
    assert faults(filed, "assistant", 3) == ()
    path = path_of(filed, 1, "lori.safetensors")
    path.write_bytes(path.read_bytes())
    hashed.clear()
    assert faults(filed, "assistant", 3) == ()
    assert path in hashed


@pytest.mark.parametrize(
    "damage",
    [b"", b"no json\n", b"\xff\n", b"[]\n", b'["x", []]\n', b"[" * 99_999],
)
@pytest.mark.usefixtures("hashed")
def test_a_damaged_memory_is_thrown_away_and_everything_is_hashed(
    filed: Registry, hashed: list[Path], damage: bytes
) -> None:
    assert faults(filed, "assistant", 3) == ()
    path = memory(filed)
    whole = path.read_bytes()
    path.write_bytes(whole + damage if damage else whole[:-9])
    path_of(filed, 1, "lori.safetensors").write_bytes(b"other")
    hashed.clear()
    (found,) = faults(filed, "assistant", 3)
    assert "assistant/1: " in found
    assert len(hashed) > 2 * len(FILES)


@pytest.mark.usefixtures("hashed")
def test_marks_that_are_none_are_worth_nothing(filed: Registry) -> None:
    assert faults(filed, "assistant", 3) == ()
    keys = [json.loads(line)[0] for line in memory(filed).read_text().splitlines()]
    path_of(filed, 1, "lori.safetensors").write_bytes(b"other")
    for mark in ([1, 2], [], {}, None, "x", ["a\0b", 1], ["adapter", "1", 2, 3, 4, 5]):
        memory(filed).write_text("".join(json.dumps([key, [mark]]) + "\n" for key in keys))
        assert len(faults(filed, "assistant", 3)) == 1


@pytest.mark.usefixtures("hashed")
def test_what_is_remembered_of_one_folder_is_worth_nothing_for_another(filed: Registry) -> None:
    """The memory of version 1, put under the key of version 2, whose file is wrong."""
    assert faults(filed, "assistant", 3) == ()
    lines = [json.loads(line) for line in memory(filed).read_text().splitlines()]
    path_of(filed, 2, "lori.safetensors").write_bytes(b"other")
    forged = [[lines[1][0], lines[0][1]], [lines[0][0], lines[1][1]]]
    memory(filed).write_text("".join(json.dumps(each) + "\n" for each in forged))
    (found,) = faults(filed, "assistant", 3)
    assert "assistant/2: " in found


@pytest.mark.usefixtures("hashed")
def test_digests_edited_in_the_rows_of_an_earlier_version_are_found(filed: Registry) -> None:
    assert faults(filed, "assistant", 3) == ()
    edit(filed, "UPDATE masks SET sha256 = :s WHERE id = 1", s="0" * 64)
    first, second = faults(filed, "assistant", 3)
    assert first == "assistant/1: its rows and its manifest differ in mask_sha256"
    assert second == "assistant/1: its certificate is of another mask"


@pytest.mark.usefixtures("hashed")
def test_documents_in_the_rows_of_earlier_versions_are_read_again_by_a_look_at_all_records(
    filed: Registry,
) -> None:
    assert faults(filed, "assistant", 3) == ()
    edited_certificate(filed, 2, resealed=False, note="edited")
    assert any("assistant/2: " in each for each in faults(filed, "assistant", 3))  # it follows 2
    edited_certificate(filed, 1, resealed=False, note="edited")
    found = record_faults(filed, "assistant")
    assert {each.partition(":")[0] for each in found} == {"assistant/1", "assistant/2"}


@pytest.mark.usefixtures("hashed")
def test_where_nothing_can_be_remembered_everything_is_hashed(filed: Registry) -> None:
    (filed.settings.home / "checked").write_text("a file where a folder should be")
    assert faults(filed, "assistant", 3) == ()
    path_of(filed, 1, "lori.safetensors").write_bytes(b"other")
    assert len(faults(filed, "assistant", 3)) == 1


@pytest.mark.usefixtures("hashed")
def test_what_is_known_already_is_not_written_again_and_the_outdated_is_thrown_out(
    filed: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    for _ in range(5):
        assert faults(filed, "assistant", 3) == ()
    assert len(memory(filed).read_text().splitlines()) == 3
    monkeypatch.setattr(untouched, "SLACK", 4)
    for _ in range(20):
        path = path_of(filed, 1, "lori.safetensors")
        path.write_bytes(path.read_bytes())  # the same bits, touched
        assert faults(filed, "assistant", 3) == ()
        assert len(memory(filed).read_text().splitlines()) <= 2 * 3 + 4
    held = {json.loads(line)[0] for line in memory(filed).read_text().splitlines()}
    assert len(held) == 3


# Files that lie elsewhere


class Elsewhere(FolderArtifacts):
    """A remote store, which may be away."""

    away = False

    def fetch(self, uri: str, into: Path) -> None:
        if self.away:
            raise Unavailable("MLflow", "a server that answers")
        super().fetch(uri, into)


@pytest.fixture
def remote(home: Path, tables: None, tmp_path: Path) -> Iterator[tuple[Registry, Elsewhere]]:
    """Three versions, sound, whose files were all fetched once."""
    store = Elsewhere(tmp_path / "remote", remote=True)
    with open_registry(home, artifacts=store) as registry:
        declare_tasks(registry)
        file_sound(registry, tmp_path / "made", *(sound_record(k) for k in (1, 2, 3)))
        assert faults(registry, "assistant", 3) == ()
        yield registry, store


def stored(registry: Registry, version: int) -> Path:
    uri = registry.version("assistant", version).artifact_uri
    assert uri is not None
    return Path(uri.removeprefix("folder://")) / "lori.safetensors"


def test_the_store_itself_is_read_and_not_a_copy_that_was_fetched_before(
    remote: tuple[Registry, Elsewhere],
) -> None:
    registry, _ = remote
    stored(registry, 3).write_bytes(b"hostile")
    (found,) = faults(registry, "assistant", 3)
    assert found.startswith("assistant/3: lori.safetensors: ")
    assert faults(registry, "assistant", 2) == ()


def test_the_version_itself_is_fetched_once_for_a_look_and_no_earlier_one_again(
    remote: tuple[Registry, Elsewhere],
) -> None:
    registry, store = remote
    store.calls.clear()
    assert faults(registry, "assistant", 3) == ()
    assert store.calls == ["fetch"]
    shutil.rmtree(registry.settings.home / "cache")
    store.calls.clear()
    assert faults(registry, "assistant", 1) == ()
    assert store.calls == ["fetch"]


def test_a_store_that_does_not_answer_is_no_fault_of_the_version(
    remote: tuple[Registry, Elsewhere],
) -> None:
    registry, store = remote
    store.away = True
    with pytest.raises(Unavailable):
        faults(registry, "assistant", 3)


# What `lori verify` found


def test_a_version_whose_probes_were_found_wrong_is_unsound_until_they_are_found_right(
    filed: Registry,
) -> None:
    verified.remember(filed, "assistant", 2, ok=True)
    assert faults(filed, "assistant", 3) == ()
    verified.remember(filed, "assistant", 2, ok=False)
    for version in (2, 3):
        (found,) = faults(filed, "assistant", version)
        assert found.startswith("assistant/2: `lori verify` found it not as certified")
    assert faults(filed, "assistant", 1) == ()
    looked = verified.last_verified(filed, "assistant", 2)
    assert looked is not None
    assert not looked.ok
    verified.remember(filed, "assistant", 2, ok=True)
    assert faults(filed, "assistant", 3) == ()


def test_a_look_at_a_version_that_nobody_ended_says_nothing(filed: Registry) -> None:
    assert verified.last_verified(filed, "assistant", 1) is None
    verified.remember(filed, "assistant", 1, ok=False)
    with filed._database.reading() as session:
        key = session.execute(text("SELECT key FROM stage_runs")).scalar_one()
    filed.stage_started(key, stage="verify", sequence="assistant", task="safety")
    assert len(faults(filed, "assistant", 1)) == 1, "the newest look that ended counts"
