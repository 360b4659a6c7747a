"""Verify a version: recompute every hash and every probe from the files, and name what differs."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from lori_core.adapters import attach
from lori_core.artifact import StoredTask, read_task_file, task_adapter
from lori_core.base import base_family, load_causal, load_encoder
from lori_core.base_identity import identify_base
from lori_core.certificates import (
    Certificate,
    CertifiedTask,
    differing_layers,
    foreign,
    head_names,
    loaded_base_digest,
    reachable_level,
)
from lori_core.config import AdapterConfig, BaseConfig
from lori_core.digests import sha256_json
from lori_core.effective import load_effective
from lori_core.errors import BadInput, CheckFailed, MaskMismatch
from lori_core.export import CONFIG, peft_config, read_export, read_export_config
from lori_core.probes import TOLERANCE, ProbeInput, inputs_digest, load_logits, logit_gap, probe
from lori_core.runtime import fingerprint, reference_runtime
from lori_core.seeded import seeded_a
from lori_core.shared_adapter import SharedAdapter, TaskAdapter, content_digest
from lori_core.tensor_digests import sha256_tensor, sha256_tensors


@dataclass(frozen=True)
class Check:
    """One thing that was looked at."""

    what: str
    ok: bool
    detail: str


def verify_certificate(
    certificate: Certificate,
    *,
    base: BaseConfig,
    files: Mapping[str, Path],
    probes: Mapping[str, Sequence[ProbeInput]],
    exports: Mapping[str, Path] | None = None,
    logits: Path | None = None,
) -> list[Check]:
    """Recompute every hash, and (where all hold) every probe. Never raises for what it finds.

    Args:
        certificate: of the version to verify.
        base: where the base lies now.
        files: task name -> its `lori.safetensors`, for every certified task.
        probes: task name -> the inputs it was certified with.
        exports: task name -> an exported `adapter/` folder of what it reads at this version.
        logits: the stored probe logits, compared within TOLERANCE in another runtime.

    Returns:
        The checks in order: base, each task, exports, probes. A failed one names the layer.
    """
    if finding := _false_claim(certificate):
        return [Check("certificate", False, finding)]
    checks = _check_base(certificate, base)
    adapters: list[TaskAdapter] = []
    for task in certificate.tasks:
        found, adapter = _check_task(task, files)
        checks += found
        if adapter is not None:
            adapters.append(adapter)
    if len(adapters) == len(certificate.tasks):
        try:
            shared = SharedAdapter(tuple(adapters))
        except CheckFailed as error:
            return [*checks, Check("protection", False, str(error))]
        checks += _check_shared(certificate, shared)
        for task_name, folder in (exports or {}).items():
            checks += _check_export(certificate, shared, task_name, folder)
    if not all(check.ok for check in checks):
        return [*checks, Check("probes", False, "not run: stored bits are not those certified")]
    try:
        return checks + _check_probes(certificate, base, shared, probes, logits)
    except (BadInput, CheckFailed, MaskMismatch) as error:
        return [*checks, Check("probes", False, str(error))]


def _false_claim(certificate: Certificate) -> str | None:
    """What a certificate says of itself that cannot be so, whatever the files hold."""
    version, tasks = certificate.version, certificate.tasks
    if version < 1 or [task.position for task in tasks] != list(range(1, version + 1)):
        return f"version {version} is not the number of its tasks, {len(tasks)}"
    level = reachable_level(certificate.protection, certificate.read)
    if certificate.level != level:
        return f"level {certificate.level} claimed, {level} is what its read can reach"
    return None


def _check_base(certificate: Certificate, base: BaseConfig) -> list[Check]:
    try:
        found = identify_base(base.path, base.revision, base.dtype)
    except BadInput as error:
        return [Check("base", False, str(error))]
    checks = [
        Check("base", False, f"layer {name}: its weights are not those certified")
        for name in differing_layers(certificate.base.tensors, found.tensors)
    ]
    if found.tokenizer != certificate.base.tokenizer:
        checks.append(Check("base", False, "the tokenizer is not the one certified"))
    if not checks and found.digest != certificate.base.digest:
        checks.append(Check("base", False, "its config or dtype is not the one certified"))
    return checks or [Check("base", True, f"{len(found.tensors)} tensors")]


def _check_task(
    task: CertifiedTask, files: Mapping[str, Path]
) -> tuple[list[Check], TaskAdapter | None]:
    what = f"task {task.task}"
    if task.task not in files:
        return [Check(what, False, "its lori.safetensors is missing")], None
    try:
        stored = read_task_file(files[task.task])
    except (BadInput, CheckFailed) as error:
        return [Check(what, False, str(error))], None
    if checks := _differing_tensors(what, task, stored):
        return checks, None
    try:
        adapter = task_adapter(stored)
    except (MaskMismatch, KeyError) as error:
        return [Check(what, False, f"its parts do not fit: {error}")], None
    checks = [
        Check(what, False, f"layer {layer} A is not the one certified")
        for layer in differing_layers(task.a, _a_digests(adapter))
    ]
    if not checks and content_digest(adapter) != task.content:
        checks.append(Check(what, False, "its settings or parents are not those certified"))
    if adapter.task != task.task:
        checks.append(Check(what, False, f"its file is of task {adapter.task}"))
    if checks:
        return checks, None
    return [Check(what, True, f"B, masks and A of {len(task.values)} layers")], adapter


def _differing_tensors(what: str, task: CertifiedTask, stored: StoredTask) -> list[Check]:
    """Failed checks for values, masks and head that are not those certified."""
    r = stored.header["r"]
    shapes = {name: (d_out, r) for name, d_out, _ in stored.header["layers"]}
    values = _digests_of(stored, ".values", shapes)
    masks = {
        layer: sha256_json([list(shapes[layer]), digest])
        for layer, digest in _digests_of(stored, ".mask", shapes).items()
    }
    checks = [
        Check(what, False, f"layer {layer} {part} is not the one certified")
        for part, certified, found in (("B", task.values, values), ("mask", task.masks, masks))
        for layer in differing_layers(certified, found)
    ]
    head = {n.removeprefix("head."): t for n, t in stored.tensors.items() if n.startswith("head.")}
    if (sha256_tensors(head) if stored.header["has_head"] else None) != task.head:
        moved = [
            n
            for n, t in head.items()
            if stored.header["tensors"].get(f"head.{n}") != sha256_tensor(t)
        ]
        checks.append(
            Check(what, False, f"layer {', '.join(moved)} of the head is not the one certified")
        )
    return checks


def _digests_of(
    stored: StoredTask, suffix: str, shapes: Mapping[str, tuple[int, int]]
) -> dict[str, str]:
    return {
        layer: sha256_tensor(stored.tensors[layer + suffix])
        for layer in shapes
        if layer + suffix in stored.tensors
    }


def _a_digests(adapter: TaskAdapter) -> dict[str, str]:
    """layer name -> sha256 of the A the adapter would be read with, made anew."""
    if adapter.a is not None:
        return {layer: sha256_tensor(a) for layer, a in adapter.a.items()}
    return {
        layer: sha256_tensor(seeded_a(adapter.seed, layer, adapter.r, d_in).to(adapter.dtype))
        for layer, (_, d_in) in adapter.layers.items()
    }


def _check_shared(certificate: Certificate, shared: SharedAdapter) -> list[Check]:
    moved = [
        task.task
        for task in certificate.tasks
        if shared.effective(task.position, certificate.version, certificate.read).digest
        != task.effective
    ]
    checks = [Check("read", False, f"what task {name} reads is not as certified") for name in moved]
    checks += [
        Check("read", False, f"task {adapter.task} {finding}")
        for adapter in shared.adapters
        if (finding := foreign(adapter, certificate.base.digest, certificate.read))
    ]
    if shared.protection != certificate.protection:
        checks.append(Check("read", False, f"protection is {shared.protection}, not as certified"))
    if shared.adapters[0].scaling != certificate.scaling:
        checks.append(Check("read", False, "lora_alpha / r is not as certified"))
    return checks or [Check("read", True, f"{certificate.read}, {len(certificate.tasks)} tasks")]


def _check_export(
    certificate: Certificate, shared: SharedAdapter, task: str, folder: Path
) -> list[Check]:
    what = f"export of {task}"
    effective = shared.effective(
        shared.adapter_of(task).position, certificate.version, certificate.read
    )
    certified: dict[str, Tensor] = {
        **{f"{layer}.lora_A": a for layer, a in effective.a.items()},
        **{f"{layer}.lora_B": b for layer, b in effective.b.items()},
        **{f"head.{name}": tensor for name, tensor in (effective.head or {}).items()},
    }
    try:
        found, settings = read_export(folder), read_export_config(folder)
    except BadInput as error:
        return [Check(what, False, str(error))]
    moved = differing_layers(
        {name: sha256_tensor(tensor) for name, tensor in certified.items()},
        {name: sha256_tensor(tensor) for name, tensor in found.items()},
    )
    checks = [Check(what, False, f"layer {name} is not as certified") for name in moved]
    expected = peft_config(
        effective,
        shared.adapters[0].lora_alpha,
        "causal" if effective.head is None else "encoder",
    )
    checks += [
        Check(what, False, f"{CONFIG}: {key} is not as certified")
        for key in sorted(expected.keys() | settings.keys())
        if key not in settings or key not in expected or settings[key] != expected[key]
    ]
    return checks or [Check(what, True, f"{len(found)} tensors")]


def _check_probes(
    certificate: Certificate,
    base: BaseConfig,
    shared: SharedAdapter,
    probes: Mapping[str, Sequence[ProbeInput]],
    logits: Path | None,
) -> list[Check]:
    first = shared.adapters[0]
    if base_family(base) == "causal":
        bare = load_causal(base)
    else:
        bare = load_encoder(base, max(2, len(first.labels)), first.seed)
    model = attach(bare, _settings(first), seed=first.seed)
    with reference_runtime():
        pinned = fingerprint() == certificate.runtime
    head = head_names(model, shared)
    if pinned and loaded_base_digest(model, head) != certificate.loaded_base:
        return [Check("base", False, "the loaded base is not the one the probes were run on")]
    stored: Mapping[str, Tensor] = {}
    if not pinned and logits is not None:
        stored = load_logits(logits)
    checks: list[Check] = []
    for task in certificate.tasks:
        what = f"probes of {task.task}"
        if len(probes.get(task.task, ())) != task.n:
            checks.append(Check(what, False, f"{task.n} inputs were certified"))
            continue
        if inputs_digest(probes[task.task]) != task.inputs:
            checks.append(Check(what, False, "its inputs are not those certified"))
            continue
        load_effective(
            model, shared.effective(task.position, certificate.version, certificate.read)
        )
        result = probe(model, probes[task.task])
        if pinned:
            same = result.digest == task.probe
            detail = f"{task.n} answers, {'to the bit' if same else 'not as certified'}"
            checks.append(Check(what, same, detail))
        else:
            checks.append(_within_tolerance(what, task, result.logits, stored))
    return checks


def _within_tolerance(
    what: str, task: CertifiedTask, found: Tensor, stored: Mapping[str, Tensor]
) -> Check:
    """In another runtime bits may differ; the answers may not, beyond TOLERANCE."""
    try:
        gap = logit_gap(stored.get(task.task), task.logits, found)
    except CheckFailed as error:
        return Check(what, False, str(error))
    return Check(what, gap <= TOLERANCE, f"runtime differs; logits within {gap:.2g}")


def _settings(adapter: TaskAdapter) -> AdapterConfig:
    """The settings `attach` needs, from a task adapter alone."""
    return AdapterConfig(
        r=adapter.r,
        lora_alpha=adapter.lora_alpha,
        target_modules=tuple(sorted({layer.rsplit(".", 1)[-1] for layer in adapter.layers})),
        protection=adapter.protection,
        read=adapter.read,
        method=adapter.method,
        seed=adapter.seed,
    )
