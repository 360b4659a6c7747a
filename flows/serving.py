"""What a version serves: exported as plain PEFT, or asked for answers."""

from pathlib import Path

from flows.recorded import Recorded
from flows.stages.bench import shared_adapter
from lori_core.base_folder import base_family
from lori_core.config import Read
from lori_core.export import export_peft, vllm_line


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
    if family == "encoder":
        return None, files
    task = found.versions[position - 1].task
    return vllm_line(base=config.base.path, task=task, directory=directory, r=effective.r), files
