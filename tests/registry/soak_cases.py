"""Sequences of any length out of the smallest records, and what must hold once they are filed."""

import os
import signal
from dataclasses import replace
from pathlib import Path

from lori_core.digests import sha256_json
from registry import doctor
from registry.records import FiledVersion, VersionRecord, VersionState
from registry.store import Registry, open_registry
from tests.registry.registry_examples import sequence_record, task_record, version_record


def declare(registry: Registry, sequence: str, tasks: int) -> None:
    """Declare a sequence of `tasks` tasks."""
    names = tuple(f"task-{number}" for number in range(1, tasks + 1))
    registry.declare_sequence(replace(sequence_record(sequence), tasks=names))
    for position, name in enumerate(names, start=1):
        data = {"train": sha256_json([sequence, name]), "test": sha256_json([sequence, name, 0])}
        task = replace(task_record(1), position=position, name=name, data=data)
        registry.declare_task(sequence, task)


def record(sequence: str, version: int) -> VersionRecord:
    """The record of one version; every one of every sequence is another adapter."""
    names = tuple(f"task-{number}" for number in range(1, version + 1))
    return replace(version_record(version, adapter=sequence, tasks=names), sequence=sequence)


def files(folder: Path, sequence: str, version: int) -> Path:
    """The folder of a version's files, made where it is missing."""
    place = folder / "files" / sequence / str(version)
    (place / "adapter").mkdir(parents=True, exist_ok=True)
    (place / "lori.safetensors").write_bytes(f"{sequence}/{version}".encode() * 50)
    (place / "adapter" / "adapter_config.json").write_text('{"r": 4}')
    (place / "certificate.json").write_text('{"level": "G2"}')
    return place


def file(
    registry: Registry, work: Path, sequence: str, version: int, *, last: VersionState | None = None
) -> FiledVersion:
    """File one version; with `last`, die by SIGKILL once that step is recorded."""

    def die(state: VersionState) -> None:
        if state == last:
            os.kill(os.getpid(), signal.SIGKILL)

    return registry.file_version(
        record(sequence, version), files(work, sequence, version), on_step=die
    )


def assert_whole(home: Path, sequence: str, versions: int) -> tuple[FiledVersion, ...]:
    """No gap, nothing twice, nobody's leftovers, every byte as it was filed."""
    with open_registry(home) as registry:
        filed = registry.versions(sequence)
        assert [each.version for each in filed] == list(range(1, versions + 1)), "a gap"
        assert {each.state for each in filed} == {"registered"}
        held = registry.stockroom().inventory(registry.model_name(sequence))
        numbers = [each.model_version for each in filed]
        assert sorted(held.versions) == sorted(n for n in numbers if n is not None), "doubled"
        served = [held.versions[n].model_id for n in numbers if n is not None]
        assert served == [each.model_id for each in filed], "a version serves another's files"
        assert sorted(held.uploads) == sorted(each.model_id or "" for each in filed), "orphans"
        live = [run for run in held.runs if not run.deleted]
        assert sorted(r.run_id for r in live) == sorted(v.run_id or "" for v in filed), "runs"
        assert all(run.ended for run in live)
        found = [each for each in doctor.examine(registry) if each.where.startswith(f"{sequence}/")]
        assert found == []
        return filed
