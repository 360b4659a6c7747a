"""sha256 of bytes, files and plain data, and files that are either whole or absent.

Identity here is content: equal bits have equal digests wherever they were made. No torch.
"""

import hashlib
import json
import os
from collections.abc import Iterable, Sequence
from pathlib import Path

from lori_core.errors import BadInput

_CHUNK = 1 << 20  # bytes read at a time, so that a file of any size fits


def sha256_bytes(b: bytes) -> str:
    """The sha256 of `b` as 64 hex digits."""
    return hashlib.sha256(b).hexdigest()


def sha256_file(path: Path) -> str:
    """The sha256 of a file's bytes. Raises OSError when it cannot be read."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            digest.update(chunk)
    return digest.hexdigest()


def sha256_array(dtype: str, shape: Sequence[int], parts: Iterable[bytes | memoryview]) -> str:
    """The sha256 over `dtype|shape|` and an array's row-major little-endian bytes.

    Args:
        dtype: as PyTorch spells it: `float32`, `bfloat16`.
        shape: of the array.
        parts: its elements, in as many pieces as they come in.
    """
    digest = hashlib.sha256(f"{dtype}|{','.join(map(str, shape))}|".encode())
    for part in parts:
        digest.update(part)
    return digest.hexdigest()


def canonical_json(value: object) -> str:
    """`value` as the one JSON text equal values share: sorted keys, no spaces, ASCII, no NaN."""
    return json.dumps(
        value, sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False
    )


def sha256_json(value: object) -> str:
    """The sha256 of plain data (dicts, lists, strings, numbers, booleans, None)."""
    return sha256_bytes(canonical_json(value).encode("ascii"))


def write_atomic(path: Path, data: bytes) -> None:
    """Put `data` at `path` whole, or leave what was there: never half a file, even after a crash.

    Raises BadInput naming the path when the place cannot be written or is full.
    """
    beside = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with beside.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        beside.replace(path)
        _sync_folder(path.parent)
    except OSError as error:
        _remove(beside)
        raise BadInput(
            f"{path}: cannot be written ({error.strerror or error})",
            "a folder that can be written and has room",
            "Free some space or choose another place.",
        ) from error
    except BaseException:
        _remove(beside)
        raise


def write_json(path: Path, value: object) -> None:
    """Write plain data as JSON for people and programs: sorted keys, two spaces, atomic."""
    text = json.dumps(value, sort_keys=True, indent=2, ensure_ascii=True, allow_nan=False)
    write_atomic(path, (text + "\n").encode("ascii"))


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _remove(path: Path) -> None:
    """Remove what a failed write left; beneath a file there is nothing to remove."""
    try:
        path.unlink(missing_ok=True)
    except OSError:
        return
