"""Everything an auditor asks about one version, as plain data out of our own rows.

Nothing is judged or measured here: what was recorded is brought together, and what was not is said.
"""

from collections.abc import Mapping
from dataclasses import asdict
from datetime import datetime
from importlib.metadata import version as installed
from pathlib import PurePath
from typing import Any, cast, get_args

from sqlalchemy import select
from sqlalchemy.orm import Session

from lori_core.config import Read
from lori_core.forgetting import ScoreMatrix
from registry import decided, ledger, lineage
from registry.clock import now
from registry.decision_models import EventRow, PromotionRow, ReportRow
from registry.decisions import Alias, ChainCheck, Confirmation, LogEntry, Promotion
from registry.evidence_words import covered, limits
from registry.models import Sequence
from registry.records import Cell, FiledVersion, Json, TaskRecord
from registry.soundness import faults
from registry.store import Registry
from registry.wire import to_json

FORMAT = 1
"""Version of the bundle's form."""

_DISTRIBUTIONS = ("lori-pipeline", "torch", "transformers", "peft", "safetensors", "mlflow")

Document = dict[str, Any]


def gather(
    registry: Registry, sequence: str, number: int, *, audits: Mapping[str, Json], by: str
) -> Document:
    """The bundle of one version.

    Args:
        registry: where it is filed.
        sequence: its sequence.
        number: its version.
        audits: task -> `rows` (role -> number) and `findings`, for those whose rows are at hand.
        by: who asks for it.

    Raises:
        BadInput: there is no such version.
    """
    version = registry.version(sequence, number)
    record = registry.sequence(sequence)
    tasks = registry.tasks(sequence)[:number]
    certificate = registry.certificate(sequence, number)
    cells = registry.cells(sequence)
    read = cast(Read, record.adapter["read"])
    about = cast(Document, record.settings.get("about") or {})
    guards = [str(each) for each in cast(list[object], record.settings.get("guards") or [])]
    chain = ledger.check(registry, sequence)
    broken = faults(registry, sequence, number)
    document = cast(Document, dict(certificate.document))
    data = [_data(task, about, audits.get(task.name)) for task in tasks]
    with registry._database.reading() as session:
        owner = lineage.known_sequence(session, sequence)
        gate = _gate(session, owner, number)
        history = _history(session, owner, number, chain)
    return {
        "format": FORMAT,
        "made": _time(now()),
        "made_by": by,
        "integrity": {"ok": not broken, "faults": list(broken)},
        "subject": _subject(version),
        "purpose": about.get("purpose"),
        "base": {
            "name": base_name(record.base_path),
            "digest": record.base_digest,
            "license": about.get("license"),
            "revision": record.base.get("revision"),
            "dtype": record.base.get("dtype"),
        },
        "data": data,
        "settings": {
            "adapter": dict(record.adapter),
            "guards": guards,
            "evaluate": record.settings.get("evaluate"),
            "eval_rows": record.settings.get("eval_rows"),
            "gate": record.settings.get("gate"),
            "promotion": record.settings.get("promotion"),
            "tasks": {task.name: dict(task.config) for task in tasks},
        },
        "matrices": [_matrix(registry, sequence, mode, number, read) for mode in _reads(cells)],
        "guards": _guards(cells, number, read),
        "gate": gate,
        "history": history,
        "certificate": {
            "level": certificate.level,
            "read": certificate.read,
            "sha256": certificate.sha256,
            "covers": list(
                covered(
                    certificate.level,
                    document.get("protection", record.adapter["protection"]),
                    certificate.read,
                    number,
                )
            ),
            "tasks": [
                {
                    "task": t["task"],
                    "content": t["content"],
                    "probes": t.get("n"),
                    "probe": t.get("probe"),
                }
                for t in document.get("tasks", [])
            ],
            "document": document,
        },
        "limits": list(
            limits(
                level=certificate.level,
                read=read,
                guards=guards,
                adopted=[each["task"] for each in data if each["adopted"]],
                unaudited=[each["task"] for each in data if each["audit"] is None],
                unlicensed=[
                    *([] if about.get("license") else ["the base"]),
                    *(each["task"] for each in data if not each["license"]),
                ],
            )
        ),
        "runtime": {
            "certified_in": document.get("runtime"),
            "written_with": {name: installed(name) for name in _DISTRIBUTIONS},
        },
    }


def _subject(version: FiledVersion) -> Document:
    return {
        "sequence": version.sequence,
        "version": version.version,
        "task": version.task,
        "state": version.state,
        "adapter_sha256": version.adapter_sha256,
        "mask_sha256": version.mask_sha256,
        "manifest_sha256": version.manifest_sha256,
        "model_name": version.model_name,
        "model_version": version.model_version,
        "created": _time(version.created),
        "registered": None if version.registered is None else _time(version.registered),
        "files": [asdict(file) for file in version.files],
    }


def base_name(path: str) -> str:
    """A hub id as it is; of a folder the last part, because the rest says where somebody lives."""
    return PurePath(path).name if PurePath(path).is_absolute() else path


def _data(task: TaskRecord, about: Document, audit: Json | None) -> Document:
    said = (about.get("tasks") or {}).get(task.name) or {}
    return {
        "task": task.name,
        "position": task.position,
        "purpose": said.get("purpose"),
        "license": said.get("license"),
        "metric": task.config.get("metric"),
        "supersedes": task.config.get("supersedes"),
        "adopted": task.config.get("adopted"),
        "digests": dict(task.data),
        "audit": None if audit is None else dict(audit),
    }


def _reads(cells: tuple[Cell, ...]) -> list[Read]:
    there = {cell.read for cell in cells if cell.version}
    return [mode for mode in get_args(Read) if mode in there]


def _matrix(registry: Registry, sequence: str, mode: Read, number: int, trained: Read) -> Document:
    found = registry.matrix_cells(sequence, mode)
    tasks, rows = found.tasks[:number], found.rows[: number + 1]
    scores = ScoreMatrix(
        tasks,
        tuple(tuple(None if c is None else c.value for c in row.cells[:number]) for row in rows),
    )
    return {
        "read": mode,
        "trained_under": mode == trained,
        "tasks": list(tasks),
        "rows": [
            {
                "version": row.version,
                "task": row.task,
                "cells": [None if c is None else _cell(c) for c in row.cells[:number]],
            }
            for row in rows
        ],
        "summary": {
            "average_accuracy": scores.average_accuracy(),
            "learning_accuracy": scores.learning_accuracy(),
            "backward_transfer": scores.backward_transfer(),
            "forgetting": scores.forgetting(),
            "forward_transfer": scores.forward_transfer(),
        },
    }


def _cell(cell: Cell) -> Document:
    return {
        "value": cell.value,
        "n": cell.n,
        "low": cell.low,
        "high": cell.high,
        "metric": cell.metric,
        "metric_version": cell.metric_version,
        "test_digest": cell.test_digest,
        "predictions_sha256": cell.predictions_sha256,
        "parts": dict(cell.parts),
    }


def _guards(cells: tuple[Cell, ...], number: int, read: Read) -> list[Document]:
    """Every guard under every adapter that serves at this version, beside the bare base."""
    base = {cell.task: cell for cell in cells if cell.version == 0}
    return [
        {
            "guard": cell.task,
            "under": cell.adapter_of,
            **_cell(cell),
            "base_value": base[cell.task].value if cell.task in base else None,
        }
        for cell in cells
        if cell.version == number and cell.read == read and cell.adapter_of is not None
    ]


def _gate(session: Session, owner: Sequence, number: int) -> Document | None:
    """The report on which this version came to serve, else the newest recorded; None: never judged."""
    wanted = select(ReportRow).where(ReportRow.sequence_id == owner.id, ReportRow.number == number)
    promoted = session.scalar(
        select(PromotionRow)
        .join(EventRow, EventRow.promotion_id == PromotionRow.id)
        .where(
            EventRow.kind == "applied",
            PromotionRow.sequence_id == owner.id,
            PromotionRow.to_version == number,
            PromotionRow.alias == "champion",
            PromotionRow.report_id.is_not(None),
        )
        .order_by(EventRow.position.desc())
        .limit(1)
    )
    row = (
        promoted.report
        if promoted is not None
        else session.scalar(wanted.order_by(ReportRow.id.desc()).limit(1))
    )
    if row is None:
        return None
    return {
        "id": row.id,
        "sha256": row.sha256,
        "ok": row.ok,
        "created": _time(row.created),
        "created_by": row.created_by,
        "policy_version": row.policy.version,
        "policy": dict(row.policy.document),
        "test_uses": row.document["test_uses"],
        "report": dict(row.document),
    }


def _history(session: Session, owner: Sequence, number: int, chain: ChainCheck) -> Document:
    aliases: tuple[Alias, ...] = get_args(Alias)
    promotions = [
        each
        for each in (
            *decided.promotions(session, owner, alias="champion"),
            *decided.promotions(session, owner, alias="candidate"),
        )
        if number in (each.to_version, each.from_version)
    ]
    ids = {each.id for each in promotions}
    return {
        "serves_as": [
            alias for alias in aliases if decided.serving(session, owner, alias) == number
        ],
        "promotions": to_json(tuple[Promotion, ...], tuple(promotions)),
        "log": to_json(
            tuple[LogEntry, ...],
            tuple(
                entry
                for entry in ledger.entries(session, owner)
                if entry.promotion in ids or entry.payload.get("version") == number
            ),
        ),
        "chain": to_json(ChainCheck, chain),
        "confirmed": to_json(tuple[Confirmation, ...], decided.confirmed(session, owner, number)),
    }


def _time(moment: datetime) -> str:
    return moment.isoformat(timespec="seconds")
