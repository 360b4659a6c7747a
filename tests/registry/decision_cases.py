"""A sequence whose every version is sound and passes its gate, and the persons who decide about it."""

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from fake_aliases import FakeAliases
from folder_artifacts import FolderArtifacts
from registry_examples import die, killed_or_done
from sqlalchemy import text

from lori_core.digests import sha256_bytes, sha256_json
from registry.artifacts import Filing, Upload
from registry.decisions import Actor, Alias
from registry.desk import Desk
from registry.records import (
    Cell,
    CertificateRecord,
    Json,
    MaskRecord,
    SequenceRecord,
    TaskRecord,
    VersionRecord,
)
from registry.store import Registry, open_registry

ROWS = 60
MODEL = "lori-assistant"
WHY = "better at code"
BASE = sha256_json("base")

OWNER = Actor(name="os:root", role="admin", account=False)
ANN = Actor(name="ann", role="promoter", account=True)
BEN = Actor(name="ben", role="reviewer", account=True)
ADA = Actor(name="ada", role="admin", account=True)
TOM = Actor(name="tom", role="trainer", account=True)
VIC = Actor(name="vic", role="viewer", account=True)


def tasks(count: int) -> tuple[str, ...]:
    return tuple(f"t{number:02}" for number in range(1, count + 1))


def learn(
    registry: Registry,
    root: Path,
    count: int = 3,
    *,
    name: str = "assistant",
    promotion: str = "manual",
    read: str = "inherited",
    protection: str = "disjoint",
) -> None:
    """Learn and file `count` tasks: each scores 0 on the base and 1 from its own version on."""
    names = tasks(count)
    registry.declare_sequence(
        SequenceRecord(
            name=name,
            base_digest=BASE,
            base_path="/models/micro",
            adapter={"r": 4, "protection": protection, "read": read},
            settings={"guards": [], "promotion": promotion},
            tasks=names,
        )
    )
    for position, task in enumerate(names, start=1):
        registry.declare_task(
            name,
            TaskRecord(
                position=position, name=task, config={}, data={"test": sha256_json([task, "test"])}
            ),
        )
        registry.record_cell(measured(registry, name, 0, task, read, score=0))
    for version in range(1, count + 1):
        file_one(registry, root, version, name=name, read=read, protection=protection)


def file_one(
    registry: Registry, root: Path, version: int, *, name: str, read: str, protection: str
) -> None:
    document = certificate(name, version, read, protection)
    folder = root / f"{name}-{version}"
    (folder / "adapter").mkdir(parents=True)
    (folder / "adapter" / "adapter_config.json").write_text('{"r": 4}')
    (folder / "lori.safetensors").write_bytes(f"values of {name} {version}".encode())
    (folder / "certificate.json").write_text(json.dumps(document))
    task = f"t{version:02}"
    registry.file_version(
        VersionRecord(
            sequence=name,
            version=version,
            task=task,
            adapter_sha256=sha256_json([name, "content", version]),
            mask=MaskRecord(sha256=sha256_json({"q": version}), nnz=3, total=30, layers={"q": 3}),
            certificate=CertificateRecord(
                level="G2",
                read="inherited" if read == "inherited" else "isolated",
                document=document,
                sha256=sha256_json(document),
            ),
        ),
        folder,
    )
    for position in range(1, version + 1):
        registry.record_cell(measured(registry, name, version, f"t{position:02}", read, score=1))


def certificate(name: str, version: int, read: str, protection: str) -> Json:
    before = certificate(name, version - 1, read, protection) if version > 1 else None
    return {
        "version": version,
        "level": "G2",
        "read": read,
        "protection": protection,
        "base": {"digest": BASE},
        "previous": None if before is None else sha256_json(before),
        "tasks": [
            {
                "position": position,
                "task": f"t{position:02}",
                "content": sha256_json([name, "content", position]),
                "masks": {"q": position},
                "head": None,
            }
            for position in range(1, version + 1)
        ],
    }


def measured(
    registry: Registry, name: str, version: int, task: str, read: str, *, score: int
) -> Cell:
    lines = [json.dumps({"id": f"{row}", "score": score}) for row in range(ROWS)]
    data = "\n".join(lines).encode()
    place = f"cells/{name}-{task}-{score}.jsonl"
    path = registry.settings.home / place
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return Cell(
        key=sha256_json([name, version, task, score]),
        sequence=name,
        version=version,
        task=task,
        read="inherited" if read == "inherited" else "isolated",
        value=float(score),
        n=ROWS,
        low=0.0,
        high=1.0,
        metric="exact_match",
        metric_version="1",
        base_digest=BASE,
        effective_digest=sha256_json([name, task]) if version else None,
        test_digest=sha256_json([task, "test"]),
        predictions=place,
        predictions_sha256=sha256_bytes(data),
    )


class HomeArtifacts(FolderArtifacts):
    """Files beneath the home, so that a home can be copied with all that it knows."""

    def __init__(self, home: Path) -> None:
        super().__init__(home / "store")

    def upload(self, filing: Filing, run_id: str, folder: Path) -> Upload:
        made = super().upload(filing, run_id, folder)
        return replace(made, artifact_uri=f"store/{made.model_id.removeprefix('m-')}")


class Learned:
    """Homes with learned sequences, each made once: filing takes longer than copying."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def into(self, home: Path, count: int, promotion: str = "manual") -> None:
        made = self.root / f"{count}-{promotion}"
        if not made.is_dir():
            fresh = self.root / f"fresh-{count}-{promotion}"
            artifacts = HomeArtifacts(fresh)
            with open_registry(fresh, artifacts=artifacts, aliases=FakeAliases()) as registry:
                learn(registry, self.root / f"files-{fresh.name}", count, promotion=promotion)
            fresh.rename(made)
        shutil.copytree(made, home)


class Faulty(FakeAliases):
    """A stand-in that does something of its own right after an alias is set."""

    def __init__(self, then: Callable[["Faulty"], None]) -> None:
        super().__init__()
        self.then = then

    def set_alias(self, model_name: str, alias: Alias, model_version: int) -> None:
        super().set_alias(model_name, alias, model_version)
        self.then(self)


def dying(aliases: FakeAliases) -> None:
    die()


def kinds(registry: Registry) -> list[str]:
    return [entry.kind for entry in Desk(registry, ANN).log("assistant")]


def promote(registry: Registry, *versions: int) -> None:
    for version in versions:
        made = Desk(registry, ANN).promote("assistant", version, reason=WHY)
        assert (made.status, made.to_version) == ("applied", version)


def break_a_file(registry: Registry, version: int) -> None:
    path = registry.artifact_path("assistant", version) / "lori.safetensors"
    path.write_bytes(path.read_bytes() + b"!")


def break_the_certificate_file(registry: Registry, version: int) -> None:
    path = registry.artifact_path("assistant", version) / "certificate.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "level": "G0"}))


def break_the_certificate_row(registry: Registry, version: int) -> None:
    with registry._database.writing() as session:
        session.execute(
            text('UPDATE certificates SET document = \'{"level": "G2"}\' WHERE number = :number'),
            {"number": version},
        )


class Stored(FakeAliases):
    """A stand-in that keeps aliases in a file, so that they outlive the process that set them."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.path = path
        if path.is_file():
            self.aliases = {(MODEL, key): value for key, value in json.loads(path.read_text())}

    def keep(self) -> None:
        self.path.write_text(json.dumps([[key, value] for (_, key), value in self.aliases.items()]))


def killed_promotion(
    home: Path, folder: FolderArtifacts, tmp_path: Path, *, after_it_was_set: bool
) -> Path:
    """Version 1 serves; a process that promotes 2 is killed right after, or before, it set the alias."""
    kept = tmp_path / "aliases.json"
    with open_registry(home, artifacts=folder, aliases=Stored(kept)) as registry:
        learn(registry, tmp_path / "learned", 2)
        promote(registry, 1)
        registry.aliases().keep()  # type: ignore[attr-defined]

    class Killed(Stored):
        def set_alias(self, model_name: str, alias: str, model_version: int) -> None:
            if after_it_was_set:
                super().set_alias(model_name, alias, model_version)  # type: ignore[arg-type]
                self.keep()
            dying(self)

    def work() -> None:
        with open_registry(home, artifacts=folder, aliases=Killed(kept)) as registry:
            Desk(registry, ANN).promote("assistant", 2, reason=WHY)

    assert killed_or_done(work) == -9
    return kept
