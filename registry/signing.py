"""A signature over a folder of files: an Ed25519 key of the home, made at first use.

A signature says that whoever holds the key wrote these bytes. It does not say who that is: the
fingerprint of the key must reach the reader by another way than the folder itself.
"""

import base64
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
    load_pem_public_key,
)

from lori_core.digests import canonical_json, sha256_bytes, sha256_file, write_json
from lori_core.errors import BadInput
from registry.home import file_lock, writable
from registry.plain import one_line

SIGNATURE = "signature.json"

FORMAT = 1

_ALGORITHM = "ed25519"


@dataclass(frozen=True, slots=True)
class Checked:
    """What was found of a signed folder."""

    faults: tuple[str, ...]
    """One sentence for each thing that is not as it was signed; none where all is."""

    fingerprint: str | None
    """Of the key it says it was signed with; None where there is no whole signature."""


def home_key(home: Path) -> Ed25519PrivateKey:
    """The home's own key: `HOME/keys/evidence.pem`, made at first use and readable by its owner alone.

    Raises:
        BadInput: it can be read by others, or is no Ed25519 key.
    """
    path = home / "keys" / "evidence.pem"
    with file_lock(home / "keys" / "evidence.lock"), writable(path):
        if not path.exists():
            whole = Ed25519PrivateKey.generate().private_bytes(
                Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()
            )
            beside = path.with_suffix(".new")
            beside.unlink(missing_ok=True)
            handle = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with os.fdopen(handle, "wb") as file:
                file.write(whole)
                os.fsync(file.fileno())
            beside.replace(path)
    return read_key(path)


def read_key(path: Path) -> Ed25519PrivateKey:
    """A private key from a PEM file that only its owner can read.

    Raises:
        BadInput: it is missing, can be read by others, or is no unencrypted Ed25519 key.
    """
    data = _read(path)
    if path.stat().st_mode & 0o077:
        raise BadInput(f"key {path}: others can read it", "mode 0600", f"chmod 600 {path}")
    try:
        key = load_pem_private_key(data, password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise _no_key(path) from error
    if not isinstance(key, Ed25519PrivateKey):
        raise _no_key(path)
    return key


def read_public_key(path: Path) -> Ed25519PublicKey:
    """A public key from a PEM file of either half.

    Raises:
        BadInput: it is missing, or no Ed25519 key.
    """
    data = _read(path)
    if b"PRIVATE KEY" in data:
        return read_key(path).public_key()
    try:
        key = load_pem_public_key(data)
    except (ValueError, UnsupportedAlgorithm) as error:
        raise _no_key(path) from error
    if not isinstance(key, Ed25519PublicKey):
        raise _no_key(path)
    return key


def fingerprint(key: Ed25519PublicKey) -> str:
    """The sha256 of a public key's 32 bytes."""
    return sha256_bytes(key.public_bytes(Encoding.Raw, PublicFormat.Raw))


def sign_folder(folder: Path, key: Ed25519PrivateKey) -> str:
    """Sign every file of a folder (written last, beside them); the key's fingerprint comes back."""
    digests = {
        path.name: sha256_file(path) for path in sorted(folder.iterdir()) if path.name != SIGNATURE
    }
    public = key.public_key()
    write_json(
        folder / SIGNATURE,
        {
            "format": FORMAT,
            "algorithm": _ALGORITHM,
            "public_key": public.public_bytes(Encoding.Raw, PublicFormat.Raw).hex(),
            "fingerprint": fingerprint(public),
            "files": digests,
            "signature": base64.b64encode(key.sign(_signed(digests))).decode("ascii"),
        },
    )
    return fingerprint(public)


def check_folder(folder: Path, key: Ed25519PublicKey | None = None) -> Checked:
    """Whether a folder holds just what was signed, bit for bit; with `key`, by that key.

    Raises:
        BadInput: there is no such folder.
    """
    if not folder.is_dir():
        raise BadInput(f"{folder}: is no folder", "a folder that `lori evidence` wrote")
    try:
        said = json.loads((folder / SIGNATURE).read_text(encoding="utf-8"))
        signer, digests, signature = _parts(said)
    except FileNotFoundError:
        return Checked((f"{SIGNATURE}: missing",), None)
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        return Checked((f"{SIGNATURE}: is no signature of ours ({type(error).__name__})",), None)
    faults = []
    try:
        signer.verify(signature, _signed(digests))
    except InvalidSignature:
        faults.append(f"{SIGNATURE}: the signature is not of these digests by this key")
    if key is not None and fingerprint(key) != fingerprint(signer):
        faults.append(
            f"{SIGNATURE}: signed by {fingerprint(signer)[:16]}, not by {fingerprint(key)[:16]}"
        )
    faults += _differences(folder, digests)
    return Checked(tuple(faults), fingerprint(signer))


def _parts(said: Any) -> tuple[Ed25519PublicKey, dict[str, str], bytes]:
    """The key, the digests and the signature; an error of Python's where it is another document."""
    if said["format"] != FORMAT or said["algorithm"] != _ALGORITHM:
        raise ValueError("another form")
    if not isinstance(said["files"], dict):
        raise TypeError("the digests are no object")
    digests = {str(name): str(digest) for name, digest in said["files"].items()}
    signer = Ed25519PublicKey.from_public_bytes(bytes.fromhex(said["public_key"]))
    if said["fingerprint"] != fingerprint(signer):
        raise ValueError("the fingerprint is of another key")
    return signer, digests, base64.b64decode(said["signature"], validate=True)


def _differences(folder: Path, digests: Mapping[str, str]) -> list[str]:
    faults = []
    there = {path.name: path for path in sorted(folder.iterdir()) if path.name != SIGNATURE}
    for name, digest in digests.items():
        path = there.get(name)
        if path is None:
            faults.append(f"{one_line(name)}: missing")
        elif path.is_symlink() or not path.is_file() or sha256_file(path) != digest:
            faults.append(f"{one_line(name)}: is not what was signed")
    return faults + [f"{one_line(name)}: was added" for name in there if name not in digests]


def _signed(digests: Mapping[str, str]) -> bytes:
    """What the signature is over."""
    return canonical_json({"lori-evidence": FORMAT, "files": dict(digests)}).encode("ascii")


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise BadInput(
            f"key {path}: cannot be read ({error.strerror})", "an Ed25519 key in a PEM file"
        ) from error


def _no_key(path: Path) -> BadInput:
    return BadInput(
        f"key {path}",
        "an unencrypted Ed25519 key in a PEM file",
        "`openssl genpkey -algorithm ed25519 -out FILE` makes one.",
    )
