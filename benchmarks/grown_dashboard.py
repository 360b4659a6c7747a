"""Two registries to look at: many tasks in one sequence, and many versions in many sequences.

    python -m benchmarks.grown_dashboard tasks HOME      # 100 tasks, three read modes, one sequence
    python -m benchmarks.grown_dashboard versions HOME   # 1,000 versions in 40 sequences

`grown_registry` says what of a seeded registry is real. Here each gets besides what a page shows:
scores that differ, three read modes, masks of the matrices of a small model, gate reports (one
judged by the real gate, the others cut out of it), decisions by people, a queue in every state,
stages, and a past instead of a moment.

Rows that carry the same score share one file of predictions.
"""

import argparse
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, cast

from sqlalchemy import Connection, Engine, event, text

from benchmarks.grown_cells import ROWS, Row, insert_all, reflected, task_of
from benchmarks.grown_registry import Size, name_of, seed
from lori_core.digests import sha256_bytes, sha256_json
from registry import gating, lineage
from registry.clock import now
from registry.decision_models import ReportRow
from registry.decisions import Actor, GateReport
from registry.desk import Desk
from registry.gating.report import report_document
from registry.settings import switch_telemetry_off
from registry.store import Registry, open_registry

SIZES = {"tasks": Size(1, 100), "versions": Size(40, 25)}
AHEAD = 6
"""Tasks of the first sequence that are declared and wait in its queue."""

LAYERS, PROJECTIONS = (
    4,
    ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"),
)
PLANNED = 120
"""Tasks that the matrices have room for."""

ANA = Actor(name="ana", role="promoter", account=True)
BEN = Actor(name="ben", role="reviewer", account=True)

STAGES = (("calibrate", 900), ("mask", 4), ("train", 1100), ("certify", 90), ("evaluate", 400))
"""Of a task in order, and the seconds each took."""


@dataclass(frozen=True, slots=True)
class Scored:
    """A file of predictions and the score that it gives."""

    path: str
    sha256: str
    value: float


def grow(home: Path, work: Path, size: Size) -> None:
    """Fill an empty home. `work` is a folder for what is filed."""
    with _unsynced(), open_registry(home) as registry:
        seed(registry, work, size, AHEAD)
        _third_read(registry)
        _scores(registry)
        _masks(registry)
        _past(registry, size)
        first, newest = name_of(0), size.versions
        judged = gating.judge(registry, first, newest, newest - 1 or None, stale={})
        for number in range(size.sequences):
            _reported(registry, replace(judged, sequence=name_of(number)))
        _decided(registry, size)
        _queue(registry, size)
        _stages(registry, size)


@contextmanager
def _unsynced() -> Iterator[None]:
    """Nothing is flushed to the disk after each of thousands of commits: who seeds can seed again."""

    def hurry(connection: Any, record: object) -> None:
        connection.execute("PRAGMA synchronous = OFF")

    event.listen(Engine, "connect", hurry)
    try:
        yield
    finally:
        event.remove(Engine, "connect", hurry)


def _third_read(registry: Registry) -> None:
    """The isolated read beside the two that are seeded: as the inherited one, of other functions."""
    with registry._database.engine.begin() as connection:
        columns = [
            column
            for (_, column, *_) in connection.exec_driver_sql("PRAGMA table_info(evaluations)")
            if column != "id"
        ]
        changed = {"read": "'isolated'", "key": "'i' || substr(key, 2)"}
        chosen = ", ".join(changed.get(column, column) for column in columns)
        connection.exec_driver_sql(
            f"INSERT INTO evaluations ({', '.join(columns)}) SELECT {chosen} FROM evaluations"
            " WHERE read = 'inherited' AND adapter_of = ''"
        )


def _scores(registry: Registry) -> None:
    """Scores that differ: by task, and under the cumulative read by what was learned since."""
    files: dict[int, Scored] = {}
    told: list[Row] = []
    with registry._database.engine.begin() as connection:
        cells = connection.execute(
            text(
                "SELECT e.id, e.version, e.read, t.position FROM evaluations e JOIN tasks t"
                " ON t.sequence_id = e.sequence_id AND t.name = e.task"
                " WHERE e.version >= t.position AND e.adapter_of = ''"
            )
        )
        for identity, version, read, position in cells:
            best = 78 + _noise(position, "best") % 20
            later = version - position if read == "cumulative" else 0
            lost = min(55, later) + (_noise(version, position) % 5 if later else 0)
            level = max(5, best - lost - (3 if read == "isolated" else 0))
            if level not in files:
                files[level] = _predictions(registry.settings.home, level)
            scored = files[level]
            told.append(
                {
                    "id": identity, "value": scored.value, "path": scored.path,
                    "digest": scored.sha256, "low": max(0.0, scored.value - 0.04),
                    "high": min(1.0, scored.value + 0.03),
                }
            )  # fmt: skip
        _update(
            connection,
            "UPDATE evaluations SET value = :value, low = :low, high = :high, predictions = :path,"
            " predictions_sha256 = :digest WHERE id = :id",
            told,
        )


def _noise(*of: object) -> int:
    return int(sha256_json(list(of))[:8], 16)


def _predictions(home: Path, level: int) -> Scored:
    """A file in which so many of a hundred rows are right."""
    scores = [int(row % 100 < level) for row in range(ROWS)]
    lines = (
        json.dumps({"id": str(row), "prediction": f"an answer, {score}", "score": score})
        for row, score in enumerate(scores)
    )
    data = "\n".join(lines).encode()
    path = home / "cells" / f"level-{level}.jsonl"
    path.write_bytes(data)
    return Scored(f"cells/level-{level}.jsonl", sha256_bytes(data), sum(scores) / ROWS)


def _masks(registry: Registry) -> None:
    """Each task owns its share of the matrices of a small model, deeper layers a little more."""
    rows = []
    with registry._database.engine.begin() as connection:
        for (identity,) in connection.execute(text("SELECT id FROM masks")):
            layers = {
                f"model.layers.{layer}.{_block(name)}.{name}": 30
                + 4 * layer
                + _noise(identity, name) % 9
                for layer in range(LAYERS)
                for name in PROJECTIONS
            }
            total = PLANNED * 45 * len(layers)
            rows.append(
                {
                    "id": identity,
                    "layers": json.dumps(layers),
                    "nnz": sum(layers.values()),
                    "total": total,
                }
            )
        _update(
            connection,
            "UPDATE masks SET layers = :layers, nnz = :nnz, total = :total WHERE id = :id",
            rows,
        )


def _block(projection: str) -> str:
    return "self_attn" if projection in PROJECTIONS[:4] else "mlp"


def _past(registry: Registry, size: Size) -> None:
    """A version every eight hours, and the sequences one after another."""
    end = now() - timedelta(hours=2)
    with registry._database.engine.begin() as connection:
        found = connection.execute(text("SELECT id, sequence_id, number FROM versions")).all()
        times = []
        for identity, sequence, number in found:
            at = end - timedelta(hours=8 * (size.versions - number), minutes=37 * sequence)
            times.append(
                {"id": identity, "at": _stored(at), "after": _stored(at + timedelta(seconds=2))}
            )
        for table, changed in (("versions", "created = :at, registered = :after"),):
            _update(connection, f"UPDATE {table} SET {changed} WHERE id = :id", times)
        connection.execute(
            text(
                "UPDATE evaluations SET created = (SELECT v.created FROM versions v WHERE"
                " v.sequence_id = evaluations.sequence_id AND v.number = max(1, evaluations.version))"
                " WHERE version <= :last"
            ),
            {"last": size.versions},
        )


def _stored(at: datetime) -> str:
    """As the registry writes a time into SQLite."""
    return f"{at:%Y-%m-%d %H:%M:%S.%f}"


def _update(connection: Connection, statement: str, rows: list[dict[str, object]]) -> None:
    if rows:
        connection.execute(text(statement), rows)


def _reported(registry: Registry, judged: GateReport) -> None:
    """A gate report of each version of a sequence, from what was said of the newest."""
    kept = gating.record(registry, judged, "seed")
    with registry._database.writing() as session:
        owner = lineage.known_sequence(session, kept.sequence)
        newest = session.get(ReportRow, kept.id)
        assert newest is not None
        for number in range(1, kept.version):
            report = _cut(kept, number)
            document = report_document(report)
            session.add(
                ReportRow(
                    sequence_id=owner.id, number=number, policy_id=newest.policy_id,
                    champion=report.champion, ok=report.ok, document=document,
                    sha256=sha256_json(document), tests=dict(report.tests),
                    created=now() - timedelta(hours=8 * (kept.version - number)), created_by="seed",
                )
            )  # fmt: skip


def _cut(report: GateReport, number: int) -> GateReport:
    """What a report would have said of an earlier version, had all figures been the same."""
    known = {task_of(each) for each in range(1, number + 1)}
    rules = []
    for rule in report.rules:
        kind, _, named = rule.rule.partition(":")
        task = named.rpartition(":under:")[2] if kind == "guard" else named
        if task and task not in known:
            continue
        refused = kind == "learning" and number % 11 == 5 and task == task_of(number)
        rules.append(
            replace(
                rule, ok=False, verdict="fail", bound=-0.012, figure=0.004, limit=0.0,
                why="0.4% better than the base on 400 rows, no less than -1.2% at 95.00%",
            )
            if refused
            else rule
        )  # fmt: skip
    return replace(
        report,
        version=number,
        champion=number - 1 or None,
        ok=all(rule.ok for rule in rules),
        rules=tuple(rules),
        tests={task: digest for task, digest in report.tests.items() if task in known},
        evidence={},
    )


def _decided(registry: Registry, size: Size) -> None:
    """What people did: rolled back and forth, froze, asked for a waiver, retired a task."""
    ana, ben = Desk(registry, ANA), Desk(registry, BEN)
    for number in range(min(4, size.sequences)):
        name = name_of(number)
        ana.rollback(name, reason="complaints about the newest answers")
        ana.promote(name, size.versions, reason="the complaints were about another model")
    last = name_of(size.sequences - 1)
    ana.rollback(
        last, reason='wrong answers on <b>invoices</b> & "quotes"', to_version=size.versions - 2
    )
    ben.freeze(last, now() + timedelta(days=30), "year end")
    rule = f"learning:{task_of(size.versions)}"
    ana.waive(last, size.versions, rule, "its test set is being redone", now() + timedelta(days=7))
    if size.sequences > 1:
        ana.retire(name_of(1), task_of(2), "nobody asks for it any more")


def _queue(registry: Registry, size: Size) -> None:
    """Learned ones in every sequence; in the first ones something in every state."""
    engine = registry._database.engine
    tables = reflected(engine, ("submissions", "arrivals", "held_sequences"))
    at = now()
    submissions: list[Row] = []
    arrivals: list[Row] = []
    for place in range(size.sequences):
        sent = {
            "id": place + 1, "source": "command", "state": "accepted", "document": {},
            "folder": None, "priority": 0, "again": False, "submitted_by": "tom", "reason": None,
            "outcome": [], "created": at - timedelta(days=2), "settled": at - timedelta(days=2),
        }  # fmt: skip
        submissions.append(sent)
        arrivals += _arrivals(place, size.versions, at)
    held = {
        "sequence": name_of(size.sequences - 1), "reason": "a disk is being changed", "by": "ana",
        "created": at - timedelta(hours=3),
    }  # fmt: skip
    insert_all(engine, tables["submissions"], submissions)
    insert_all(engine, tables["arrivals"], ({**row, "id": n} for n, row in enumerate(arrivals, 1)))
    insert_all(engine, tables["held_sequences"], [held])


def _arrivals(place: int, versions: int, at: datetime) -> Iterator[Row]:
    """Of one sequence, in the order they came."""

    def row(number: int, state: str, **more: object) -> Row:
        task = task_of(number)
        known: Row = {
            "submission_id": place + 1, "sequence": name_of(place), "task": task, "state": state,
            "held": False, "priority": 0, "document": {}, "content": sha256_json([place, number]),
            "data": {"train": sha256_json([task, "train"])}, "queue": "cpu", "attempt": 0, "lost": 0,
            "token": 0, "flow_run_id": None, "holder": None, "lease_until": None,
            "heartbeat": None, "not_before": None, "progress": {}, "version": None, "reason": None,
            "cancel_requested": False, "created": at - timedelta(days=2), "dispatched": None,
            "started": None, "finished": None,
        }  # fmt: skip
        return {**known, **more}

    out: Row = {"attempt": 1, "token": 1, "holder": "worker-1 on trainer"}
    for number in range(max(1, versions - 5), versions + 1):
        ended = at - timedelta(hours=2 + 8 * (versions - number))
        begun = {
            "dispatched": ended - timedelta(minutes=43),
            "started": ended - timedelta(minutes=42),
        }
        yield row(number, "learned", **out, **begun, version=number, finished=ended)
    waiting = versions + 2
    if place == 0:
        begun = {"dispatched": at - timedelta(minutes=9), "started": at - timedelta(minutes=8)}
        progress = {
            "stage": "train", "done": 340, "total": 1200, "text": "loss 0.412",
            "since": (at - timedelta(minutes=3)).isoformat(timespec="seconds"),
        }  # fmt: skip
        lease: Row = {"lease_until": at + timedelta(days=1), "heartbeat": at}
        yield row(versions + 1, "running", **out, **begun, **lease, progress=progress)
    elif place % 8 == 3:
        why = f"{task_of(versions + 1)}: row 812 of train has no `completion` field"
        yield row(versions + 1, "failed", **out, started=at - timedelta(hours=1), reason=why)
    else:
        waiting = versions + 1
    for number in range(waiting, versions + AHEAD + 1 if place % 2 == 0 else waiting):
        yield row(number, "waiting", held=number == versions + AHEAD, priority=number % 2)
    if place % 5 == 0:
        gone = {"reason": "sent by mistake", "finished": at - timedelta(hours=20)}
        yield row(versions + AHEAD + 1, "cancelled", **gone)


def _stages(registry: Registry, size: Size) -> None:
    """Every stage of every version, what runs now, and one that failed."""
    engine = registry._database.engine
    table = reflected(engine, ("stage_runs",))["stage_runs"]
    at, rows = now(), []

    def row(
        place: int, number: int, stage: str, state: str, begun: datetime, end: datetime | None
    ) -> Row:
        key = sha256_json([place, number, stage])
        return {
            "key": key, "stage": stage, "sequence": name_of(place), "task": task_of(number),
            "attempt": 1, "state": state, "pid": 4242, "process_started": begun.timestamp(),
            "started": begun, "finished": end, "detail": {"folder": f"{stage}-{key[:16]}"},
        }  # fmt: skip

    for place in range(size.sequences):
        for number in range(1, size.versions + 1):
            begun = at - timedelta(hours=2 + 8 * (size.versions - number), minutes=42)
            for stage, seconds in STAGES:
                end = begun + timedelta(seconds=seconds + _noise(place, number, stage) % 40)
                rows.append(row(place, number, stage, "finished", begun, end))
                begun = end
    rows.append(
        row(
            0,
            size.versions + 1,
            "calibrate",
            "finished",
            at - timedelta(minutes=8),
            at - timedelta(minutes=3),
        )
    )
    rows.append(row(0, size.versions + 1, "train", "running", at - timedelta(minutes=3), None))
    if size.sequences > 3:
        rows.append(
            row(
                3,
                size.versions + 1,
                "calibrate",
                "failed",
                at - timedelta(hours=1),
                at - timedelta(minutes=58),
            )
        )
    insert_all(engine, table, rows)


def main() -> None:
    """Fill a home."""
    switch_telemetry_off()
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", choices=sorted(SIZES))
    parser.add_argument("home", type=Path)
    given = parser.parse_args()
    home = cast(Path, given.home).absolute()
    grow(home, home.parent / f"{home.name}-files", SIZES[given.what])
    print(f"filled {home}")


if __name__ == "__main__":
    main()
