"""What a version serves: exported as plain PEFT, or merged into a whole model on request."""

from pathlib import Path

from flows.recorded import Recorded
from flows.stages.bench import shared_adapter
from flows.stages.certifying import read_probes
from lori_core.base_folder import base_family
from lori_core.config import Read
from lori_core.export import WEIGHTS, export_peft, vllm_line
from lori_core.merging import Merged, merge_into_base


def export_task(
    found: Recorded, version: int, position: int, read: Read, directory: Path
) -> tuple[str | None, dict[str, str]]:
    """Write what a task reads at a version as a PEFT folder.

    Returns:
        the line that serves it with vLLM (None for an encoder), and file name -> sha256.
    """
    config = found.config()
    shared = shared_adapter(found.folders(version))
    family = base_family(config.base)
    effective = shared.effective(position, version, read)
    files = export_peft(
        effective,
        base=config.base.path,
        revision=config.base.revision,
        adapter=config.adapter,
        family=family,
        directory=directory,
        provenance={"sequence": found.name, "version": version, "read": read},
    )
    task = found.versions[position - 1].task
    found.registry.record_export(found.name, version, task, read, files[WEIGHTS])
    if family == "encoder":
        return None, files
    return vllm_line(base=config.base.path, task=task, directory=directory, r=effective.r), files


def merge_task(found: Recorded, version: int, position: int, read: Read, directory: Path) -> Merged:
    """Write the base with what a task reads at a version merged into it; no certificate covers it."""
    config = found.config()
    folders = found.folders(version)
    filed = found.versions[position - 1]
    return merge_into_base(
        shared_adapter(folders).effective(position, version, read),
        base=config.base,
        base_digest=found.record.base_digest,
        adapter=config.adapter,
        probes=read_probes(folders[position - 1]),
        directory=directory,
        provenance={
            "sequence": found.name,
            "version": version,
            "read": read,
            "adapter_sha256": filed.adapter_sha256,
        },
    )
