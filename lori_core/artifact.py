"""`lori.safetensors`: one task adapter as a file. Values, packed masks, a header; never a pickle.

Tensors are `<layer>.values`, `<layer>.mask` (bits), `<layer>.a` (only where A was trained) and
`head.<parameter>`. Everything else is JSON under the one metadata key `lori`, so that equal
adapters are equal bytes. Every tensor's digest is in the header, and the header's in itself.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypedDict, cast, get_origin, get_type_hints

from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from lori_core.config import Protection, Read
from lori_core.digests import canonical_json, sha256_bytes, sha256_json, write_atomic
from lori_core.errors import BadInput, DigestMismatch
from lori_core.masks import pack_mask, unpack_mask
from lori_core.shared_adapter import TaskAdapter, content_digest
from lori_core.tensor_digests import sha256_tensor

FORMAT = 1
"""Version of the file's form."""

_METADATA_KEY = "lori"

_KINDS: Mapping[object, type | tuple[type, ...]] = {
    int: int, float: (int, float), bool: bool, list: list, dict: dict,
}  # fmt: skip


class Header(TypedDict):
    """What the file says of itself."""

    format: int
    task: str
    position: int
    seed: int
    r: int
    lora_alpha: float
    method: Literal["lori", "lora"]
    protection: Protection
    read: Read
    layers: list[tuple[str, int, int]]
    has_head: bool
    labels: list[str]
    a: dict[str, str]
    base: str
    parents: list[str]
    tensors: dict[str, str]
    content: str
    sha256: str


_HINTS = get_type_hints(Header)


@dataclass(frozen=True)
class StoredTask:
    """A file as it lies there, nothing checked but its form."""

    header: Header
    tensors: Mapping[str, Tensor]


def save_task_adapter(adapter: TaskAdapter, path: Path) -> str:
    """Write the adapter whole or not at all; equal adapters give equal bytes.

    Returns the sha256 of the file. Raises BadInput when the place cannot be written.
    """
    tensors = _tensors(adapter)
    header = {
        "format": FORMAT,
        "task": adapter.task,
        "position": adapter.position,
        "seed": adapter.seed,
        "r": adapter.r,
        "lora_alpha": float(adapter.lora_alpha),
        "method": adapter.method,
        "protection": adapter.protection,
        "read": adapter.read,
        "layers": [[layer, *shape] for layer, shape in adapter.layers.items()],
        "has_head": adapter.head is not None,
        "labels": list(adapter.labels),
        "a": dict(adapter.a_digests),
        "base": adapter.base_digest,
        "parents": list(adapter.parents),
        "tensors": {name: sha256_tensor(tensor) for name, tensor in tensors.items()},
        "content": content_digest(adapter),
    }
    header["sha256"] = sha256_json(header)
    data = save(tensors, metadata={_METADATA_KEY: canonical_json(header)})
    write_atomic(path, data)
    return sha256_bytes(data)


def load_task_adapter(path: Path) -> TaskAdapter:
    """Read an adapter, every digest checked.

    Raises:
        BadInput: no such file, cut short, or not a task adapter of ours.
        DigestMismatch: a bit differs from what was written; names the layer and what of it.
    """
    stored = read_task_file(path)
    for name, expected in stored.header["tensors"].items():
        if name not in stored.tensors:
            raise _not_ours(path, f"lacks {name}")
        if (found := sha256_tensor(stored.tensors[name])) != expected:
            raise DigestMismatch(f"{path}: {described(name)}", expected, found)
    adapter = task_adapter(stored)
    if (found := content_digest(adapter)) != stored.header["content"]:
        raise DigestMismatch(f"{path}: content", stored.header["content"], found)
    return adapter


def read_task_file(path: Path) -> StoredTask:
    """Read a file's header and tensors; of digests, only the header's own is checked.

    Raises BadInput as `load_task_adapter` does, and DigestMismatch for a changed header.
    """
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except FileNotFoundError as error:
        raise BadInput(f"{path}: does not exist", "a lori.safetensors file") from error
    except (SafetensorError, OSError) as error:
        raise _not_ours(path, f"is not a whole safetensors file ({error})") from error
    try:
        header = json.loads(metadata[_METADATA_KEY])
        claimed = header["sha256"]
        found = sha256_json({key: value for key, value in header.items() if key != "sha256"})
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise _not_ours(path, "its header is not readable") from error
    if found != claimed:
        raise DigestMismatch(f"{path}: header", str(claimed), found)
    if header.get("format") != FORMAT:
        raise BadInput(
            f"{path}: form {header.get('format')}",
            f"form {FORMAT}",
            "Use the release that wrote it.",
        )
    if odd := _odd_keys(header):
        raise _not_ours(path, f"its header does not say {', '.join(odd)} as we do")
    return StoredTask(header, tensors)


def task_adapter(stored: StoredTask) -> TaskAdapter:
    """The adapter a file holds, digests unchecked. Raises MaskMismatch when its parts do not fit."""
    header, tensors = stored.header, stored.tensors
    layers = {name: (d_out, d_in) for name, d_out, d_in in header["layers"]}
    r = header["r"]
    return TaskAdapter(
        task=header["task"],
        position=header["position"],
        seed=header["seed"],
        r=r,
        lora_alpha=header["lora_alpha"],
        method=header["method"],
        protection=header["protection"],
        read=header["read"],
        layers=layers,
        masks={x: unpack_mask(tensors[f"{x}.mask"], (shape[0], r)) for x, shape in layers.items()},
        values={x: tensors[f"{x}.values"] for x in layers},
        head=(
            {n.removeprefix("head."): t for n, t in tensors.items() if n.startswith("head.")}
            if header["has_head"]
            else None
        ),
        labels=tuple(header["labels"]),
        a_digests=header["a"],
        base_digest=header["base"],
        parents=tuple(header["parents"]),
        a={x: tensors[f"{x}.a"] for x in layers} if header["method"] == "lora" else None,
    )


def described(tensor_name: str) -> str:
    """`layer model.layers.0.mlp.up_proj values` for the tensor of that name in a file."""
    if tensor_name.startswith("head."):
        return f"head {tensor_name.removeprefix('head.')}"
    layer, _, what = tensor_name.rpartition(".")
    return f"layer {layer} {'A' if what == 'a' else what}"


def _tensors(adapter: TaskAdapter) -> dict[str, Tensor]:
    tensors: dict[str, Tensor] = {}
    for layer in adapter.layers:
        tensors[f"{layer}.values"] = adapter.values[layer].detach().cpu().contiguous()
        tensors[f"{layer}.mask"] = pack_mask(adapter.masks[layer])
        if adapter.a is not None:
            tensors[f"{layer}.a"] = adapter.a[layer].detach().cpu().contiguous()
    for name, parameter in (adapter.head or {}).items():
        tensors[f"head.{name}"] = parameter.detach().cpu().contiguous()
    return tensors


def _odd_keys(header: Mapping[str, object]) -> list[str]:
    """Keys that a header of ours has and this one has not, or the other way, or of another kind."""
    kinds = {key: _KINDS.get(get_origin(hint) or hint, str) for key, hint in _HINTS.items()}
    odd = [key for key in kinds if key in header and not isinstance(header[key], kinds[key])]
    odd += header.keys() ^ kinds.keys()
    if not odd and not all(_is_layer(each) for each in cast(list[object], header["layers"])):
        odd = ["layers"]
    if not odd and cast(int, header["r"]) < 1:
        odd = ["r"]
    return sorted(odd)


def _is_layer(each: object) -> bool:
    return (
        isinstance(each, list)
        and [type(part) for part in each] == [str, int, int]
        and min(each[1:]) >= 1
    )


def _not_ours(path: Path, finding: str) -> BadInput:
    return BadInput(
        f"{path}: {finding}", "a whole lori.safetensors file", "Restore it from the registry."
    )
