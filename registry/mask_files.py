"""Shapes and write masks out of a `lori.safetensors`, without torch and without its values.

The file is safetensors: eight bytes that say how long the header is, the header as JSON, the tensors.
`lori_core.artifact` writes it and checks every digest; here only what a page shows is read.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from lori_core.errors import CheckFailed

LARGEST_HEADER = 64 * 1024 * 1024


@dataclass(frozen=True, slots=True, eq=False)
class MaskFile:
    """The packed masks of one task adapter."""

    bits: dict[str, npt.NDArray[np.uint8]]
    """Layer name -> its mask, eight entries a byte."""


def entries_by_layer(path: Path) -> dict[str, int]:
    """Layer name -> entries of its B (d_out · r), as the file's header says.

    Raises:
        CheckFailed: the file is gone, or is none of ours.
    """
    own = _own_header(_header(path)[0], path)
    try:
        return {str(layer): int(d_out) * int(own["r"]) for layer, d_out, _ in own["layers"]}
    except (KeyError, TypeError, ValueError) as error:
        raise _not_ours(path) from error


def open_masks(path: Path) -> MaskFile:
    """The masks of an adapter.

    Raises:
        CheckFailed: the file is gone, or is none of ours.
    """
    header, start = _header(path)
    data = np.memmap(path, dtype=np.uint8, mode="r")
    bits: dict[str, npt.NDArray[np.uint8]] = {}
    for name, told in header.items():
        if not name.endswith(".mask"):
            continue
        try:
            begin, end = told["data_offsets"]
            whole = told["dtype"] == "U8" and 0 <= begin <= end <= len(data) - start
        except (KeyError, TypeError, ValueError) as error:
            raise _not_ours(path) from error
        if not whole:
            raise _not_ours(path)
        bits[name.removesuffix(".mask")] = np.asarray(data[start + begin : start + end])
    return MaskFile(bits)


def shared_bits(one: MaskFile, other: MaskFile) -> int:
    """Entries that both masks mark.

    Raises:
        CheckFailed: they are of different matrices.
    """
    if {layer: len(bits) for layer, bits in one.bits.items()} != {
        layer: len(bits) for layer, bits in other.bits.items()
    }:
        raise CheckFailed("overlap", "the two masks are of different matrices")
    return sum(
        int(np.bitwise_count(bits & other.bits[layer]).sum()) for layer, bits in one.bits.items()
    )


def _header(path: Path) -> tuple[dict[str, Any], int]:
    """The header, and where the tensors begin."""
    try:
        with path.open("rb") as file:
            length = int.from_bytes(file.read(8), "little")
            text = file.read(length) if length <= LARGEST_HEADER else b""
    except OSError as error:
        raise CheckFailed(path.name, f"it cannot be read ({error.strerror}): {path}") from error
    try:
        header = json.loads(text)
    except ValueError as error:
        raise _not_ours(path) from error
    if not isinstance(header, dict):
        raise _not_ours(path)
    return header, 8 + length


def _own_header(header: dict[str, Any], path: Path) -> dict[str, Any]:
    try:
        own = json.loads(header["__metadata__"]["lori"])
    except (KeyError, TypeError, ValueError) as error:
        raise _not_ours(path) from error
    if not isinstance(own, dict):
        raise _not_ours(path)
    return own


def _not_ours(path: Path) -> CheckFailed:
    return CheckFailed(path.name, f"it is no task adapter of ours: {path}")
