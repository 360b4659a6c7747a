import hashlib
from collections.abc import Callable
from pathlib import Path

import pytest
from folder_artifacts import FolderArtifacts
from registry_examples import declare, version_record

from lori_core.errors import BadInput, CheckFailed, DigestMismatch
from registry.artifacts import check_files, stored_files
from registry.store import Registry, open_registry


def test_files_are_known_by_path_digest_and_size(files: Path) -> None:
    found = stored_files(files)
    assert [file.path for file in found] == [
        "adapter/adapter_config.json",
        "certificate.json",
        "lori.safetensors",
    ]
    for file in found:
        data = (files / file.path).read_bytes()
        assert (file.sha256, file.size) == (hashlib.sha256(data).hexdigest(), len(data))


def test_a_missing_or_empty_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="at least one file"):
        stored_files(tmp_path)
    with pytest.raises(BadInput, match="a folder with the version's files"):
        stored_files(tmp_path / "nowhere")


def test_a_link_is_refused(files: Path) -> None:
    (files / "link").symlink_to("/etc/passwd")
    with pytest.raises(BadInput, match="Links are not stored"):
        stored_files(files)


def flip(folder: Path) -> None:
    path = folder / "lori.safetensors"
    data = bytearray(path.read_bytes())
    data[0] ^= 1
    path.write_bytes(bytes(data))


def remove(folder: Path) -> None:
    (folder / "certificate.json").unlink()


def add(folder: Path) -> None:
    (folder / "adapter" / "extra.pkl").write_bytes(b"no")


def link(folder: Path) -> None:
    (folder / "certificate.json").rename(folder.parent / "same.json")
    (folder / "certificate.json").symlink_to(folder.parent / "same.json")


HARM = [
    (flip, r"lori\.safetensors"),
    (remove, r"certificate\.json"),
    (add, r"adapter/extra\.pkl"),
    (link, r"certificate\.json"),
]


@pytest.mark.parametrize(("harm", "named"), HARM)
def test_a_changed_missing_or_added_file_is_named(
    files: Path, harm: Callable[[Path], None], named: str
) -> None:
    expected = stored_files(files)
    check_files("assistant/1", files, expected)
    harm(files)
    with pytest.raises(DigestMismatch, match=rf"assistant/1: {named}"):
        check_files("assistant/1", files, expected)


@pytest.mark.parametrize(("harm", "named"), HARM)
def test_stored_files_are_checked_before_they_are_handed_out(
    learned: Registry, harm: Callable[[Path], None], named: str
) -> None:
    path = learned.artifact_path("assistant", 1)
    assert (path / "lori.safetensors").read_bytes() == b"values one"
    harm(path)
    with pytest.raises(DigestMismatch, match=named):
        learned.artifact_path("assistant", 1)


def test_files_that_are_gone_are_said_to_be(learned: Registry) -> None:
    path = learned.artifact_path("assistant", 1)
    path.rename(path.with_name("elsewhere"))
    with pytest.raises(CheckFailed, match="its files are gone"):
        learned.artifact_path("assistant", 1)


def test_remote_files_are_fetched_once_and_checked_each_time(
    home: Path, files: Path, tmp_path: Path
) -> None:
    store = FolderArtifacts(tmp_path / "remote", remote=True)
    with open_registry(home, artifacts=store) as registry:
        declare(registry)
        registry.file_version(version_record(1), files)
        store.calls.clear()
        path = registry.artifact_path("assistant", 1)
        assert registry.artifact_path("assistant", 1) == path
        assert store.calls == ["fetch"]
        assert path.is_relative_to(home)
        flip(path)
        with pytest.raises(DigestMismatch, match=r"lori\.safetensors"):
            registry.artifact_path("assistant", 1)
