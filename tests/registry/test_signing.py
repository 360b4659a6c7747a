"""A signed folder: what was changed, added or taken away is named; a key is nobody else's."""

import json
import os
import stat
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)

from lori_core.errors import BadInput
from registry.signing import (
    SIGNATURE,
    check_folder,
    fingerprint,
    home_key,
    read_key,
    read_public_key,
    sign_folder,
)


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    folder = tmp_path / "bundle"
    folder.mkdir()
    (folder / "bundle.json").write_text('{"a": 1}')
    (folder / "bundle.html").write_text("<p>a</p>")
    return folder


def pem(key: Ed25519PrivateKey | X25519PrivateKey, password: bytes | None = None) -> bytes:
    sealed = NoEncryption() if password is None else BestAvailableEncryption(password)
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, sealed)


def written(path: Path, data: bytes, mode: int = 0o600) -> Path:
    path.write_bytes(data)
    path.chmod(mode)
    return path


def test_a_folder_is_whole_after_it_was_signed(bundle: Path, home: Path) -> None:
    signed = sign_folder(bundle, home_key(home))
    checked = check_folder(bundle, home_key(home).public_key())
    assert checked.faults == ()
    assert checked.fingerprint == signed == fingerprint(home_key(home).public_key())


def edit(bundle: Path) -> None:
    (bundle / "bundle.json").write_text('{"a": 2}')


def forge(bundle: Path) -> None:
    """Digests made to fit, the signature left."""
    edit(bundle)
    said = json.loads((bundle / SIGNATURE).read_text())
    from lori_core.digests import sha256_file

    said["files"]["bundle.json"] = sha256_file(bundle / "bundle.json")
    (bundle / SIGNATURE).write_text(json.dumps(said))


def link(bundle: Path) -> None:
    (bundle / "elsewhere").mkdir()
    (bundle / "bundle.html").rename(bundle / "elsewhere/x")
    (bundle / "bundle.html").symlink_to(bundle / "elsewhere/x")


SPOILT: dict[str, tuple[Callable[[Path], object], str]] = {
    "edited": (edit, "bundle.json: is not what was signed"),
    "removed": (lambda b: (b / "bundle.html").unlink(), "bundle.html: missing"),
    "added": (lambda b: (b / "note.txt").write_text("x"), "note.txt: was added"),
    "a link": (link, "bundle.html: is not what was signed"),
    "forged": (forge, "the signature is not of these digests"),
    "unsigned": (lambda b: (b / SIGNATURE).unlink(), f"{SIGNATURE}: missing"),
    "no signature at all": (lambda b: (b / SIGNATURE).write_text("[]"), "no signature of ours"),
    "another form": (lambda b: (b / SIGNATURE).write_text('{"format": 9}'), "no signature of ours"),
    "signed again": (
        lambda b: (edit(b), sign_folder(b, Ed25519PrivateKey.generate())), "signed by"
    ),
}  # fmt: skip


@pytest.mark.parametrize("how", SPOILT)
def test_what_differs_is_named(bundle: Path, home: Path, how: str) -> None:
    sign_folder(bundle, home_key(home))
    spoil, named = SPOILT[how]
    spoil(bundle)
    faults = check_folder(bundle, home_key(home).public_key()).faults
    assert any(named in fault for fault in faults), faults


def test_a_bundle_signed_by_another_is_whole_to_who_names_no_key(bundle: Path) -> None:
    key = Ed25519PrivateKey.generate()
    sign_folder(bundle, key)
    assert check_folder(bundle).faults == ()
    assert check_folder(bundle).fingerprint == fingerprint(key.public_key())


def test_the_homes_key_is_made_once_and_for_its_owner_alone(home: Path) -> None:
    with ThreadPoolExecutor(8) as pool:
        made = {fingerprint(key.public_key()) for key in pool.map(home_key, [home] * 16)}
    assert len(made) == 1
    path = home / "keys" / "evidence.pem"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert sorted(os.listdir(home / "keys")) == ["evidence.lock", "evidence.pem"]  # noqa: PTH208
    path.chmod(0o644)
    with pytest.raises(BadInput, match="others can read it"):
        home_key(home)


def test_what_is_no_key_is_told_in_one_line(tmp_path: Path) -> None:
    key = Ed25519PrivateKey.generate()
    for data in (b"", b"no key", pem(X25519PrivateKey.generate()), pem(key, b"secret")):
        with pytest.raises(BadInput) as refusal:
            read_key(written(tmp_path / "key.pem", data))
        assert "\n" not in str(refusal.value)
    with pytest.raises(BadInput, match="cannot be read"):
        read_key(tmp_path / "nowhere.pem")


def test_either_half_of_a_key_tells_who_signed(tmp_path: Path) -> None:
    key = Ed25519PrivateKey.generate()
    public = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    halves = [
        read_public_key(written(tmp_path / "private.pem", pem(key))),
        read_public_key(written(tmp_path / "public.pem", public, 0o644)),
    ]
    assert {fingerprint(half) for half in halves} == {fingerprint(key.public_key())}
