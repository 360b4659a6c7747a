"""Certificates: what did not change when a task was learned, by hash and by probe.

G1: every protected entry of B, A, base and scaling is bit-identical. G2: besides, each earlier
task's function is bit-identical given its task id, in the reference runtime (probe logits). A
cumulative read cannot reach G2 and overlapping masks reach nothing (G0): B_2 A x reaches old inputs.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Literal

from jaxtyping import Float
from peft import PeftModel
from torch import Tensor

from lori_core.adapters import base_parameters, read_b, refuse_trained_base
from lori_core.base_identity import BaseIdentity
from lori_core.config import Protection, Read
from lori_core.digests import sha256_json
from lori_core.effective import load_effective
from lori_core.errors import BadInput, CheckFailed
from lori_core.heads import head_parameters
from lori_core.probes import (
    TOLERANCE,
    ProbeInput,
    ProbeResult,
    inputs_digest,
    logit_gap,
    probe,
)
from lori_core.runtime import fingerprint, reference_runtime
from lori_core.shared_adapter import (
    SharedAdapter,
    TaskAdapter,
    content_digest,
    mask_digests,
    value_digests,
)
from lori_core.tensor_digests import sha256_tensor, sha256_tensors

Level = Literal["G0", "G1", "G2"]

FORMAT = 1
"""Version of the certificate's JSON form."""


@dataclass(frozen=True, kw_only=True)
class CertifiedTask:
    """What is certified of one task."""

    task: str
    position: int
    content: str
    """`content_digest` of its task adapter."""
    effective: str
    """Digest of what it reads at this version in the certified mode."""
    masks: Mapping[str, str]
    """layer name -> sha256 of its packed mask."""
    values: Mapping[str, str]
    """layer name -> sha256 of its stored values."""
    a: Mapping[str, str]
    """layer name -> sha256 of its A."""
    head: str | None
    """sha256 of its head's parameters together."""
    inputs: str
    """Digest of what its probes put in (`probes.inputs_digest`)."""
    probe: str
    """Digest of its probe logits."""
    logits: str
    """sha256 of the stored part of its probe logits (`probes.save_logits`)."""
    n: int
    """How many probes."""


@dataclass(frozen=True, kw_only=True)
class Certificate:
    """What is certified of one version. Plain data: `to_json` and `from_json` lose nothing."""

    version: int
    level: Level
    protection: Protection
    read: Read
    """The read mode the probes were run in: the one the sequence is trained under."""
    base: BaseIdentity
    loaded_base: str
    """sha256 of the base's parameters as they lie in memory, heads left out."""
    scaling: float
    tasks: tuple[CertifiedTask, ...]
    runtime: Mapping[str, str]
    """`runtime.fingerprint` of the place the probes were run."""
    runtime_differs: bool
    """The version before was certified in another runtime. Its probes were run anew in this one to
    compare to the bit, and its stored logits compared within `probes.TOLERANCE`."""
    previous: str | None
    """Digest of the certificate of the version before."""

    @property
    def digest(self) -> str:
        """The certificate's own sha256."""
        return sha256_json(self.to_json())

    def to_json(self) -> dict[str, object]:
        """As plain data for JSON."""
        return {"format": FORMAT, **asdict(self), "tasks": [asdict(task) for task in self.tasks]}


def certificate_from_json(data: object) -> Certificate:
    """The certificate that `to_json` gave. Raises BadInput when the data is none."""
    try:
        fields = dict(data)  # type: ignore[call-overload]
        if fields.pop("format") != FORMAT:
            raise ValueError("unknown form")
        base = BaseIdentity(**fields.pop("base"))
        tasks = tuple(CertifiedTask(**task) for task in fields.pop("tasks"))
        return Certificate(base=base, tasks=tasks, **fields)
    except (KeyError, TypeError, ValueError) as error:
        raise BadInput(f"certificate: cannot be read ({error})", "a certificate of ours") from error


@dataclass(frozen=True, eq=False)
class Certified:
    """A certificate and the logits that go with it into a file (`probes.save_logits`)."""

    certificate: Certificate
    logits: Mapping[str, Float[Tensor, "_n _classes"]]
    """task name -> stored part of its probe logits."""


def reachable_level(protection: Protection, read: Read) -> Level:
    """The best level a sequence of this protection and read mode can claim."""
    if protection == "overlap":
        return "G0"
    if protection == "disjoint" and read == "cumulative":
        return "G1"
    return "G2"


def certify(
    previous: Certificate | None,
    *,
    shared: SharedAdapter,
    model: PeftModel,
    base: BaseIdentity,
    read: Read,
    probes: Mapping[str, Sequence[ProbeInput]],
    previous_logits: Mapping[str, Float[Tensor, "_n _classes"]] | None = None,
    on_progress: Callable[[str, int], None] | None = None,
) -> Certified:
    """Certify the newest version of `shared`: hash everything, probe every task, compare.

    Args:
        previous: certificate of the version before; None for version 1 alone.
        shared: the tasks learned, the newest last, as read back from their files.
        model: the base with an adapter (`adapters.attach`), on the CPU. Left holding what the
            newest task reads.
        base: `base_identity.identify_base` of the base's files.
        read: the read mode of the sequence.
        probes: task name -> the same inputs at every version.
        previous_logits: those stored with `previous`; needed where it is of another runtime.
        on_progress: called with a task's name and the number of its probes done.

    Raises:
        CheckFailed: something earlier moved (names the layer or the task), or an adapter is of
            another base or read mode.
        BadInput: the model trains something of the base, or a task has no probes.
    """
    refuse_trained_base(model, head=head_names(model, shared))
    version = shared.version
    level = reachable_level(shared.protection, read)
    with reference_runtime():
        runtime = fingerprint()
    loaded_base = loaded_base_digest(model, head_names(model, shared))
    differs = previous is not None and previous.runtime != runtime
    _compare_sequence(previous, shared, base, read)
    if previous is not None and not differs and previous.loaded_base != loaded_base:
        raise CheckFailed("certificate", "the base in memory is not the base of its files")
    if shared.protection == "disjoint":
        _compare_protected(model, shared)
    tasks: list[CertifiedTask] = []
    logits: dict[str, Tensor] = {}
    for adapter in shared.adapters:
        effective = shared.effective(adapter.position, version, read)
        load_effective(model, effective)
        result = _probed(model, adapter.task, probes, on_progress)
        inputs = inputs_digest(probes[adapter.task])
        task = certified_task(adapter, effective.digest, inputs, result)
        if previous is not None and adapter.position < version:
            was = previous.tasks[adapter.position - 1]
            _compare_task(was, task, level)
            before = was.probe
            if level == "G2" and differs:
                _compare_logits(was, task, result, previous_logits or {})
                load_effective(model, shared.effective(adapter.position, version - 1, read))
                before = probe(model, probes[adapter.task]).digest
            if level == "G2" and before != task.probe:
                raise CheckFailed("certificate", f"probe logits of task {task.task} moved")
        tasks.append(task)
        logits[adapter.task] = result.logits
    certificate = Certificate(
        version=version,
        level=level,
        protection=shared.protection,
        read=read,
        base=base,
        loaded_base=loaded_base,
        scaling=shared.adapters[0].scaling,
        tasks=tuple(tasks),
        runtime=runtime,
        runtime_differs=differs,
        previous=None if previous is None else previous.digest,
    )
    return Certified(certificate, logits)


def certified_task(
    adapter: TaskAdapter, effective: str, inputs: str, result: ProbeResult
) -> CertifiedTask:
    """What is certified of a task: its adapter, digests of its read and its probes, its answers."""
    return CertifiedTask(
        task=adapter.task,
        position=adapter.position,
        content=content_digest(adapter),
        effective=effective,
        masks=mask_digests(adapter),
        values=value_digests(adapter),
        a=dict(adapter.a_digests),
        head=None if adapter.head is None else sha256_tensors(adapter.head),
        inputs=inputs,
        probe=result.digest,
        logits=sha256_tensor(result.logits),
        n=int(result.logits.shape[0]),
    )


def head_names(model: PeftModel, shared: SharedAdapter) -> tuple[str, ...]:
    """Parameter names of the head, where the tasks of `shared` have one."""
    if any(adapter.head is not None for adapter in shared.adapters):
        return tuple(head_parameters(model))
    return ()


def loaded_base_digest(model: PeftModel, head: Sequence[str]) -> str:
    """The sha256 of the base's parameters and buffers in memory, `head` left out."""
    return sha256_tensors({n: t for n, t in base_parameters(model).items() if n not in head})


def differing_layers(certified: Mapping[str, str], found: Mapping[str, str]) -> list[str]:
    """Layers whose digests are not those certified, in the certificate's order."""
    names = dict.fromkeys([*certified, *found])
    return [layer for layer in names if certified.get(layer) != found.get(layer)]


def _probed(
    model: PeftModel,
    task: str,
    probes: Mapping[str, Sequence[ProbeInput]],
    on_progress: Callable[[str, int], None] | None,
) -> ProbeResult:
    if task not in probes:
        raise BadInput(f"task {task}: has no probes", "probes of every learned task")
    if on_progress is None:
        return probe(model, probes[task])
    return probe(model, probes[task], lambda done: on_progress(task, done))


def _compare_sequence(
    previous: Certificate | None, shared: SharedAdapter, base: BaseIdentity, read: Read
) -> None:
    """The version must follow the one before on the same base, in the same read and protection."""
    if (0 if previous is None else previous.version) != shared.version - 1:
        before = "nothing" if previous is None else f"version {previous.version}"
        raise CheckFailed("certificate", f"version {shared.version} cannot follow {before}")
    if previous is not None:
        _compare_base(previous, base)
        if (previous.protection, previous.read) != (shared.protection, read):
            raise CheckFailed("certificate", "the protection or the read mode changed")
        if previous.scaling != shared.adapters[0].scaling:
            raise CheckFailed("certificate", "lora_alpha / r changed")
    for adapter in shared.adapters:
        if finding := foreign(adapter, base.digest, read):
            raise CheckFailed(f"task {adapter.task}", finding)


def foreign(adapter: TaskAdapter, base_digest: str, read: Read) -> str | None:
    """Why an adapter cannot be certified on a base under a read mode; None where it can."""
    if adapter.base_digest != base_digest:
        return "was trained on another base"
    if adapter.read != read:
        return f"was trained under the {adapter.read} read, not the {read} one"
    return None


def _compare_base(previous: Certificate, base: BaseIdentity) -> None:
    if moved := differing_layers(previous.base.tensors, base.tensors):
        raise CheckFailed("certificate", f"base tensor {moved[0]} changed since version 1")
    if previous.base.digest != base.digest:
        raise CheckFailed("certificate", "the base's config, tokenizer or dtype changed")


def _compare_task(was: CertifiedTask, task: CertifiedTask, level: Level) -> None:
    """An earlier task must be what it was: its stored bits always, at G2 all that it reads."""
    for what, certified, found in (
        ("mask", was.masks, task.masks),
        ("values", was.values, task.values),
        ("A", was.a, task.a),
    ):
        if moved := differing_layers(certified, found):
            raise CheckFailed("certificate", f"layer {moved[0]} {what} of task {task.task} moved")
    if (was.task, was.content, was.head) != (task.task, task.content, task.head):
        raise CheckFailed("certificate", f"task {task.task} is not the one certified before")
    if was.inputs != task.inputs:
        raise CheckFailed("certificate", f"probes of task {task.task} are not those of before")
    if level == "G2" and was.effective != task.effective:
        raise CheckFailed("certificate", f"what task {task.task} reads moved")


def _compare_logits(
    was: CertifiedTask, task: CertifiedTask, result: ProbeResult, stored: Mapping[str, Tensor]
) -> None:
    """In another runtime the answers must be those stored, within TOLERANCE."""
    gap = logit_gap(stored.get(task.task), was.logits, result.logits)
    if not gap <= TOLERANCE:  # a NaN is no answer either
        raise CheckFailed(
            "certificate", f"runtime differs, and probe logits of task {task.task} by {gap:.2g}"
        )


def _compare_protected(model: PeftModel, shared: SharedAdapter) -> None:
    """All of B in the model holds every task's values at its entries, to the bit."""
    load_effective(model, shared.effective(shared.version, shared.version, "cumulative"))
    b = read_b(model)
    for adapter in shared.adapters:
        for layer, mask in adapter.masks.items():
            held = b[layer][mask].to(adapter.dtype)
            if sha256_tensor(held) != sha256_tensor(adapter.values[layer]):
                raise CheckFailed("certificate", f"layer {layer}: entries of {adapter.task} moved")
