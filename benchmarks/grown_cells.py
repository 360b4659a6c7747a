"""The cells of a registry that is seeded in bulk, and what seeding shares."""

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from sqlalchemy import Engine, MetaData, String, Table, func, insert, select

from lori_core.cells import needed_cells
from lori_core.config import Read
from lori_core.digests import sha256_bytes, sha256_json
from registry.clock import now
from registry.store import Registry

ROWS = 400
BATCH = 5000

BASE = sha256_json("base")
READS: tuple[Read, ...] = ("inherited", "cumulative")

Row = dict[str, object]


def task_of(number: int) -> str:
    """The name of the task that a version learned."""
    return f"task-{number}"


GUARD = task_of(1)


def measured(
    registry: Registry, tables: Mapping[str, Table], identity: int, name: str, versions: int
) -> None:
    """R and the guards: each function's first cell in Python, its later ones by the database."""
    kinds = {
        kind: _predictions(registry.settings.home, f"{name}-{kind}", right)
        for kind, right in (("base", 0.1), ("learned", 0.9), ("ahead", 0.2))
    }

    def cell(version: int, number: int, read: str, kind: str, under: str = "") -> Row:
        path, digest, value = kinds[kind]
        task = task_of(number)
        function = sha256_json([name, under or task, read, version if kind == "ahead" else 0])
        return {
            "key": sha256_json([function, task, kind == "base"]),
            "sequence_id": identity,
            "version": version,
            "task": task,
            "read": read,
            "adapter_of": under,
            "value": value,
            "n": ROWS,
            "low": max(0.0, value - 0.05),
            "high": min(1.0, value + 0.05),
            "metric": "exact_match",
            "metric_version": "1",
            "parts": {},
            "base_digest": BASE,
            "effective_digest": function if version else None,
            "test_digest": sha256_json([name, task, "test"]),
            "predictions": path,
            "predictions_sha256": digest,
            "created": now(),
        }

    rows: list[Row] = []
    for number in range(1, versions + 1):
        for read in READS:
            rows.append(cell(0, number, read, "base"))
            rows.append(cell(number, number, read, "learned"))
            if number > 1:
                rows.append(cell(number - 1, number, read, "ahead"))
        if number > 1:
            rows.append(cell(number, 1, "inherited", "learned", task_of(number)))
    engine = registry._database.engine
    insert_all(engine, tables["evaluations"], rows)
    _later(engine, tables, identity)


def _later(engine: Engine, tables: Mapping[str, Table], identity: int) -> None:
    """The cells of the versions after a task's own.

    Under the inherited read they are of the same function; under the cumulative read each version
    is another one.
    """
    cells, versions = tables["evaluations"], tables["versions"]
    tasks = tables["tasks"]
    for read in READS:
        changed = (
            {
                "key": func.substr(cells.c.key, 1, 32, type_=String)
                + func.substr(versions.c.idem_key, 1, 32, type_=String),
                "effective_digest": versions.c.idem_key,
            }
            if read == "cumulative"
            else {}
        )
        names = [column.name for column in cells.columns if column.name != "id"]
        chosen = [
            versions.c.number if name == "version" else changed.get(name, cells.c[name])
            for name in names
        ]
        learned = (tasks.c.position == cells.c.version) & (
            (tasks.c.name == cells.c.task) & (cells.c.adapter_of == "")
            | (tasks.c.name == cells.c.adapter_of)
        )
        wanted = (
            select(*chosen)
            .select_from(cells)
            .join(tasks, (tasks.c.sequence_id == cells.c.sequence_id) & learned)
            .join(
                versions,
                (versions.c.sequence_id == cells.c.sequence_id)
                & (versions.c.number > cells.c.version),
            )
            .where(cells.c.sequence_id == identity, cells.c.read == read)
        )
        with engine.begin() as connection:
            connection.execute(insert(cells).from_select(names, wanted))


def _predictions(home: Path, name: str, right: float) -> tuple[str, str, float]:
    """A file of predictions, its digest and the value it gives."""
    scores = [int(row % 10 < 10 * right) for row in range(ROWS)]
    lines = (
        json.dumps({"id": str(row), "prediction": "an answer of some words", "score": score})
        for row, score in enumerate(scores)
    )
    data = "\n".join(lines).encode()
    path = home / "cells" / f"{name}.jsonl"
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(data)
    return f"cells/{name}.jsonl", sha256_bytes(data), sum(scores) / ROWS


def check_cells(registry: Registry, name: str, versions: int) -> None:
    """Stop unless the cells of a sequence are those of the default evaluation."""
    if versions > 100:
        return
    tasks = [task_of(number) for number in range(1, versions + 1)]
    wanted = {
        (key.row_version, key.task, key.read, key.adapter_of)
        for version in range(1, versions + 1)
        for key in needed_cells(tasks, version, READS, guards=[GUARD])
    }
    found = {(cell.version, cell.task, cell.read, cell.adapter_of) for cell in registry.cells(name)}
    assert found == wanted, sorted(found ^ wanted, key=str)[:5]


def reflected(engine: Engine, names: Sequence[str]) -> dict[str, Table]:
    found = MetaData()
    found.reflect(engine, only=list(names))
    return {name: found.tables[name] for name in names}


def insert_all(engine: Engine, table: Table, rows: Iterable[Row]) -> None:
    waiting = list(rows)
    with engine.begin() as connection:
        for start in range(0, len(waiting), BATCH):
            connection.execute(insert(table), waiting[start : start + BATCH])
