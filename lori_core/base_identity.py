"""What a base is, by content: the digest of every stored weight and of what lies beside them. No torch."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Literal

from safetensors import SafetensorError, safe_open

from lori_core.base_folder import SMALL_FILES, find_base, read_config_file, read_json_object
from lori_core.config import BaseConfig
from lori_core.digests import sha256_array, sha256_file, sha256_json
from lori_core.errors import BadInput

_INDEX = "model.safetensors.index.json"
_OTHER_FILES = ("config.json", "generation_config.json", _INDEX)  # small, but no tokenizer's
_CHUNK = 1 << 20  # bytes read at a time, so that weights of any size fit
_VOLATILE = ("_name_or_path", "transformers_version")  # say where and when, not what
STORED_TYPES = {
    "F64": "float64", "F32": "float32", "F16": "float16", "BF16": "bfloat16",
    "I64": "int64", "I32": "int32", "I16": "int16", "I8": "int8", "BOOL": "bool",
    "U64": "uint64", "U32": "uint32", "U16": "uint16", "U8": "uint8", "C64": "complex64",
    "F8_E4M3": "float8_e4m3fn", "F8_E4M3FNUZ": "float8_e4m3fnuz",
    "F8_E5M2": "float8_e5m2", "F8_E5M2FNUZ": "float8_e5m2fnuz", "F8_E8M0": "float8_e8m0fnu",
}  # fmt: skip
"""Element type in a safetensors header -> its name in PyTorch. Types of less than a byte are left out."""


@dataclass(frozen=True)
class BaseIdentity:
    """What a base is, by content: equal for equal bits wherever they lie."""

    digest: str
    """Over all that follows, the config and the tokens that end an answer."""
    tensors: Mapping[str, str]
    """Name of each stored weight -> sha256 of its stored bits."""
    tokenizer: str
    """sha256 over the tokenizer's files: all small files but the config's."""
    dtype: str
    """The type it is held in, `float32` or `bfloat16`."""


def identify_base(
    path: Path | str, revision: str | None = None, dtype: Literal["float32", "bfloat16"] = "float32"
) -> BaseIdentity:
    """Hash every stored weight, the tokenizer, the config and the end tokens of a base.

    Raises BadInput when it does not exist, is not a model, or its weights cannot be read.
    """
    folder = find_base(BaseConfig(path=str(path), revision=revision, dtype=dtype))
    config = {k: v for k, v in read_config_file(folder).items() if k not in _VOLATILE}
    tensors: dict[str, str] = {}
    for file in weight_files(folder):
        tensors |= _stored_digests(file)
    tokenizer = sha256_json(
        {str(f.relative_to(folder)): sha256_file(f) for f in tokenizer_files(folder)}
    )
    generation = read_json_object(folder, "generation_config.json") or {}
    content = {
        "config": config,
        "tensors": tensors,
        "tokenizer": tokenizer,
        "dtype": dtype,
        "eos_token_id": generation.get("eos_token_id"),
    }
    return BaseIdentity(sha256_json(content), tensors, tokenizer, dtype)


def tokenizer_files(folder: Path) -> list[Path]:
    """The small files of a base that a tokenizer or its chat template may be read from."""
    patterns = (*SMALL_FILES, "additional_chat_templates/*.jinja")
    found = {f for pattern in patterns for f in folder.glob(pattern) if f.is_file()}
    return sorted(f for f in found if f.name not in _OTHER_FILES)


def weight_files(folder: Path) -> list[Path]:
    """The base's safetensors files: one, or those its index names.

    Raises BadInput if there are none, or both: transformers would load the one and not the others.
    """
    index = read_json_object(folder, _INDEX)
    files = [folder / "model.safetensors"]
    if index is not None:
        if files[0].is_file():
            raise BadInput(
                f"base {folder}: holds model.safetensors and {_INDEX}",
                "its weights once, in one file or in those of an index",
                "Remove the one that is not meant.",
            )
        named = index.get("weight_map")
        if not isinstance(named, dict) or not all(isinstance(n, str) for n in named.values()):
            named = {}
        if not named:
            raise BadInput(
                f"base {folder}: {_INDEX} names no files", "a weight_map", "Copy the base again."
            )
        files = [folder / name for name in sorted(set(named.values()))]
    for file in files:
        if not file.is_file():
            raise BadInput(
                f"base {folder}: {file.name} is missing",
                "a model's folder with its weights as *.safetensors",
                "Other weight files are never read: they can run code.",
            )
    return files


def _stored_digests(file: Path) -> dict[str, str]:
    """Name of each weight of a safetensors file -> `sha256_array` of its stored bits."""
    try:
        with safe_open(file, framework="np"):  # it refuses a header that does not fit the file
            pass
        with file.open("rb") as opened:
            start = 8 + int.from_bytes(opened.read(8), "little")
            header = json.loads(opened.read(start - 8))
            header.pop("__metadata__", None)
            return {name: _digest(opened, start, entry) for name, entry in header.items()}
    except _UnknownType as error:
        raise BadInput(
            f"base {file}: stores weights as {error}",
            f"an element type among {', '.join(STORED_TYPES)}",
            "Store them as one of these.",
        ) from error
    except (SafetensorError, OSError, ValueError) as error:
        raise BadInput(
            f"base {file}: not a readable safetensors file", "whole weights", "Copy the base again."
        ) from error


class _UnknownType(Exception):
    """An element type that is none of `STORED_TYPES`."""


def _digest(file: BinaryIO, start: int, entry: Mapping[str, Any]) -> str:
    """Of one weight, as its header describes it; ValueError where the file ends before it does."""
    if entry["dtype"] not in STORED_TYPES:
        raise _UnknownType(entry["dtype"])
    first, last = entry["data_offsets"]
    file.seek(start + first)
    parts = _parts(file, last - first)
    return sha256_array(STORED_TYPES[entry["dtype"]], entry["shape"], parts)


def _parts(file: BinaryIO, left: int) -> Iterator[bytes]:
    while left:
        part = file.read(min(left, _CHUNK))
        if not part:
            raise ValueError("the file ended")
        left -= len(part)
        yield part
