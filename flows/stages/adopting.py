"""The stage that makes an existing LoRA one of ours, in the form `certify` finds a trained one in."""

from pathlib import Path
from typing import Any

from flows.reporter import Reporter
from flows.stages.bench import ADAPTER_FILE, assignment, file_digests
from flows.stages.learning import LOG
from lori_core.adapters import adapter_shapes
from lori_core.adoption import (
    adopt_task,
    adopted_head,
    refuse_foreign_layers,
)
from lori_core.artifact import save_task_adapter
from lori_core.base import load_encoder, load_tokenizer, meta_model
from lori_core.base_identity import BaseIdentity, identify_base
from lori_core.config import AdapterConfig, BaseConfig
from lori_core.digests import write_json
from lori_core.errors import BadInput
from lori_core.heads import head_state, pretrained_head
from lori_core.peft_folder import PeftFolder, read_peft_folder, refuse_changed
from lori_core.shared_adapter import SharedAdapter, content_digest, mask_digest


def adopt_stage(spec: dict[str, Any], folder: Path, reporter: Reporter) -> dict[str, Any]:
    """Identify the base, hold the LoRA against it, and keep it as a task adapter.

    Raises:
        BadInput: the base is not one we can use, or not the one the LoRA was made for; or the
            folder is no longer what it was when it was planned.
    """
    told = assignment(spec)
    source = read_peft_folder(Path(spec["peft"]))
    refuse_changed(source, spec["source"]["files"])  # those that the registry will name
    config = told.config
    base = config.base
    reporter.progress(0, 2, "reading the base")
    identity = identify_base(base.path, base.revision, base.dtype)
    _refuse_another_base(source, base, identity)
    load_tokenizer(base)
    model = meta_model(base)
    refuse_foreign_layers(source, adapter_shapes(model, AdapterConfig()))
    shapes = adapter_shapes(model, config.adapter)
    reporter.progress(1, 2, "reading the LoRA")
    labels = tuple(spec["labels"])
    adapter = adopt_task(
        source,
        task=spec["task"],
        position=told.position,
        adapter=config.adapter,
        shapes=shapes,
        base_digest=identity.digest,
        head=_head(source, base, identity, labels) if labels else None,
        labels=labels,
    )
    refuse_changed(source, spec["source"]["files"])  # what was loaded lay between two looks
    SharedAdapter((*told.shared().adapters, adapter))  # refuses what is not of one sequence
    save_task_adapter(adapter, folder / ADAPTER_FILE)
    write_json(folder / LOG, {"task": adapter.task, "adopted": spec["source"]})
    return {
        "files": file_digests(folder, ADAPTER_FILE, LOG),
        "base": identity.digest,
        "adapter_sha256": content_digest(adapter),
        "mask_sha256": mask_digest(adapter),
        "layers": {layer: int(mask.sum()) for layer, mask in adapter.masks.items()},
        "sizes": {layer: mask.numel() for layer, mask in adapter.masks.items()},
        "entries": sum(mask.numel() for mask in adapter.masks.values()),
    }


def _refuse_another_base(source: PeftFolder, base: BaseConfig, found: BaseIdentity) -> None:
    """Where the base that the folder names still lies there, it must be this one."""
    if source.base is None:
        return
    named = Path(source.base)
    if not (named / "config.json").is_file() or named.resolve() == Path(base.path).resolve():
        return
    if identify_base(source.base, None, base.dtype).digest != found.digest:
        raise BadInput(
            f"{source.path}: was made for the base {source.base}",
            f"that base, not {base.path}, which is another",
            f"Give --base {source.base}, or adopt it into a sequence of that base.",
        )


def _head(
    source: PeftFolder, base: BaseConfig, identity: BaseIdentity, labels: tuple[str, ...]
) -> dict[str, Any]:
    model = load_encoder(base, len(labels), 0)
    stored = any(".pooler." in f".{name}" for name in identity.tensors)
    head = adopted_head(source, head_state(model), pretrained_head(model) if stored else {})
    for name, tensor in head_state(model).items():
        if tensor.shape != head[name].shape:
            raise BadInput(
                f"{source.path}: {name} is of shape {tuple(head[name].shape)}",
                f"{tuple(tensor.shape)}, for the labels {', '.join(labels)}",
                "Give test rows with the `choices` it was trained on, in their order.",
            )
    return head
