"""The stage that certifies, and the folder of files that a version is filed as.

lori.safetensors     the task's adapter: values, masks, header
adapter/             what the task reads, as a plain PEFT folder
certificate.json     what did not change, by hash and by probe
probes.safetensors   what every task answered to its probes
probe-inputs.json    the probes of this task
log.json             losses of training
"""

import json
import shutil
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, get_args

from flows.reporter import Reporter
from flows.stages.bench import ADAPTER_FILE, assignment, bench, shared_adapter
from flows.stages.learning import LOG
from lori_core.certificates import Certificate, certificate_from_json, certify
from lori_core.config import Read
from lori_core.digests import sha256_file, write_json
from lori_core.export import export_peft
from lori_core.probes import ProbeInput, load_logits, probe_inputs, save_logits
from lori_core.shared_adapter import SharedAdapter

VERSION = "version"
"""Name of the folder beneath the stage's own."""

CERTIFICATE = "certificate.json"
LOGITS = "probes.safetensors"
PROBES = "probe-inputs.json"
PEFT = "adapter"

READS: tuple[Read, ...] = get_args(Read)


def certify_stage(spec: dict[str, Any], folder: Path, reporter: Reporter) -> dict[str, Any]:
    """Rewrite the shared adapter from its files, hash and probe it, and lay out the version."""
    told = assignment(spec)
    work = bench(told.config, told.base_digest)
    version = folder / VERSION
    version.mkdir(exist_ok=True)
    for name in (ADAPTER_FILE, LOG):
        shutil.copyfile(told.before["train"] / name, version / name)
    mine = probe_inputs(work.lesson(told.task, told.rows).rows)
    write_json(version / PROBES, [asdict(each) for each in mine])
    shared = shared_adapter((*told.earlier, version))
    probes = {told.task.name: mine}
    for adapter, past in zip(shared.adapters, told.earlier, strict=False):
        probes[adapter.task] = read_probes(past)
    total = sum(len(each) for each in probes.values())
    done = dict.fromkeys(probes, 0)

    def tell(task: str, count: int) -> None:
        done[task] = count
        reporter.progress(sum(done.values()), total, f"probing {task}")

    certified = certify(
        read_certificate(told.earlier[-1]) if told.earlier else None,
        shared=shared,
        model=work.reference_model,
        base=work.identity,
        read=told.config.adapter.read,
        probes=probes,
        previous_logits=load_logits(told.earlier[-1] / LOGITS) if told.earlier else None,
        on_progress=tell,
    )
    write_json(version / CERTIFICATE, certified.certificate.to_json())
    save_logits(certified.logits, version / LOGITS)
    export_peft(
        shared.effective(told.position, told.position, told.config.adapter.read),
        base=told.config.base.path,
        revision=told.config.base.revision,
        adapter=told.config.adapter,
        family=work.family,
        directory=version / PEFT,
        provenance={"sequence": told.config.sequence, "version": told.position},
    )
    files = sorted(path for path in version.rglob("*") if path.is_file())
    return {
        "files": {str(path.relative_to(folder)): sha256_file(path) for path in files},
        "level": certified.certificate.level,
        "certificate_sha256": certified.certificate.digest,
        "effective": effective_digests(shared),
    }


def effective_digests(shared: SharedAdapter) -> dict[str, dict[str, str]]:
    """read -> task -> digest of what the task reads at the newest version."""
    return {
        read: {
            adapter.task: shared.effective(adapter.position, shared.version, read).digest
            for adapter in shared.adapters
        }
        for read in READS
    }


def read_probes(folder: Path) -> tuple[ProbeInput, ...]:
    """The probes of the task whose version lies in `folder`."""
    rows: Sequence[dict[str, Any]] = json.loads((folder / PROBES).read_text(encoding="utf-8"))
    return tuple(
        ProbeInput(row["id"], tuple(row["input_ids"]), row["prompt_length"]) for row in rows
    )


def read_certificate(folder: Path) -> Certificate:
    """The certificate of the version in `folder`."""
    return certificate_from_json(json.loads((folder / CERTIFICATE).read_text(encoding="utf-8")))
