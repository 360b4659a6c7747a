"""One sequence under one read mode, in a number of statements that no number of tasks raises."""

from collections.abc import Iterable, Mapping, Sequence
from typing import cast

from sqlalchemy import select
from sqlalchemy.orm import Session

from lori_core.config import Read
from registry import lineage
from registry.capacity_view import capacity_view
from registry.clock import now
from registry.covering import covered_versions
from registry.gating.evidence import has_heads
from registry.matrix_view import guards_view, matrix_view
from registry.models import Certificate, Version
from registry.overlaps import overlaps
from registry.queue_view import sequence_queue
from registry.score_changes import Change, Comparing, NotComparable
from registry.score_curves import Earlier, VersionFigures, Worst, kept_figures
from registry.score_grid import MODES, Owner, ScoreGrid, grids
from registry.sequence_head import gate_brief, sequence_head
from registry.sequence_records import (
    Loss,
    ReadSummary,
    SequenceHead,
    SequenceView,
    VersionLine,
)
from registry.stale import stale_versions
from registry.store import Registry
from registry.task_lines import declared_tasks, task_lines
from registry.version_rows import VersionRow, version_rows


def sequence_view(
    registry: Registry,
    name: str,
    read: Read | None = None,
    *,
    rows: int | None = None,
    columns: int | None = None,
) -> SequenceView:
    """A sequence as its page shows it.

    Args:
        registry: what is asked.
        name: of the sequence.
        read: the mode that is shown; None is the one it serves under.
        rows: the first version of the window; None: the newest are in it.
        columns: the first task of the window; None: the newest learned are in it.

    Raises:
        NotFound: there is no such sequence.
    """
    queue = sequence_queue(registry, name, now())
    with registry._database.reading() as session:
        owner = lineage.known_sequence(session, name)
        tasks = declared_tasks(session, owner.id)
        versions = version_rows(session, owner.id)
        certified = {each.version: each.level for each in versions}
        serves = cast(Read, owner.adapter.get("read", "inherited"))
        shown = read or serves
        mine = Owner(
            store=registry._database.place,
            id=owner.id,
            tasks=tuple(task.name for task in tasks),
            learned=max((each.version for each in versions), default=0),
        )
        measured = grids(session, mine, {shown, serves})
        grid = measured[shown]
        filed = frozenset(each.version for each in versions if each.filed)
        newest = max(filed, default=0)
        levels = [(each.version, each.level, each.read) for each in versions]
        covered = {mode: covered_versions(levels, mode) for mode in MODES}
        matrix = matrix_view(
            name,
            grid,
            trained=shown == serves,
            covered=covered[shown],
            filed=filed,
            encoder=_is_encoder(session, owner.id),
            rows=rows,
            columns=columns,
        )
        comparing = {
            each.read: Comparing(
                registry=registry,
                session=session,
                grid=each,
                covered=covered[each.read],
            )
            for each in measured.values()
        }
        figures = {
            each: kept_figures(compared.grid, covered[each]) for each, compared in comparing.items()
        }
        head = sequence_head(session, owner, serves, len(tasks), versions)
        in_window = [line.version for line in matrix.lines if line.version]
        capacity = capacity_view(
            registry.settings.home,
            versions,
            owner.adapter,
            [task.sparsity for task in tasks[len(versions) :]],
        )
        gate, verdicts = gate_brief(session, owner.id, head.newest)
        lines = task_lines(
            session, owner, tasks, matrix.columns, comparing[shown], capacity.left, newest
        )
        guarded = _names(owner.settings.get("guards"))
        guards = guards_view(session, owner.id, grid, guarded, matrix.first_column, newest)
        return SequenceView(
            head=head,
            reads=tuple(
                _read_summary(comparing.get(each), figures.get(each, ())[:newest], each, serves)
                for each in MODES
            ),
            read=shown,
            gate=gate,
            queue=queue,
            matrix=matrix,
            guards=guards,
            served_guards=guards
            if shown == serves
            else guards_view(
                session, owner.id, measured[serves], guarded, matrix.first_column, newest
            ),
            tasks=lines,
            versions=_version_lines(
                versions,
                in_window,
                figures[shown],
                verdicts=verdicts,
                serving=head,
                stale=stale_versions(session, owner) if head.fault is None else {},
            ),
            figures=figures[shown],
            gaps=tuple(
                (line.left_before, line.gap)
                for line in lines
                if line.gap is not None
                and line.left_before is not None
                and not isinstance(line.gap.change, NotComparable)
            ),
            capacity=capacity,
            overlaps=overlaps(
                registry.settings.home,
                [each for each in versions if each.version in in_window],
                protection=str(owner.adapter.get("protection", "disjoint")),
                certified=certified,
            ),
            levels=_counted(each.level for each in versions if each.filed),
        )


def score_grid(registry: Registry, name: str, read: Read) -> tuple[ScoreGrid, frozenset[int]]:
    """R of one read mode, and the versions whose certificates cover it, for who writes all of it.

    Raises:
        NotFound: there is no such sequence.
    """
    with registry._database.reading() as session:
        owner = lineage.known_sequence(session, name)
        versions = version_rows(session, owner.id)
        mine = Owner(
            store=registry._database.place,
            id=owner.id,
            tasks=tuple(task.name for task in declared_tasks(session, owner.id)),
            learned=max((each.version for each in versions), default=0),
        )
        levels = [(each.version, each.level, each.read) for each in versions]
        return grids(session, mine, {read})[read], covered_versions(levels, read)


def _read_summary(
    comparing: Comparing | None, figures: Sequence[VersionFigures], read: Read, serves: Read
) -> ReadSummary:
    """One mode at its newest version; the task that lost most is compared row by row."""
    newest = figures[-1] if figures else None
    worst = None if newest is None else newest.worst
    cells = 0 if comparing is None else int((comparing.grid.cell[1:] > 0).sum())
    if comparing is None or newest is None:
        return ReadSummary(
            read=read, trained=read == serves, measured=cells, missing=0, average=None,
            forgetting=None, worst=None, earlier=Earlier(), all_proved=False,
        )  # fmt: skip
    return ReadSummary(
        read=read,
        trained=read == serves,
        measured=cells,
        missing=sum(each.missing for each in figures) if cells else 0,
        average=newest.average,
        forgetting=newest.forgetting,
        worst=None if worst is None else _loss(comparing, worst, newest.version),
        earlier=newest.earlier,
        all_proved=newest.forgetting is not None
        and newest.forgetting.basis == "proved"
        and newest.forgetting.terms == newest.version - 1,
    )


def _loss(comparing: Comparing, worst: Worst, version: int) -> Loss | None:
    """None where a cell of it is gone by now."""
    before, after = (worst.best_at, worst.position), (version, worst.position)
    change = comparing.changes([(before, after)]).get((before, after))
    if not isinstance(change, Change):
        return None
    return Loss(
        task=worst.task, position=worst.position, best_at=worst.best_at, change=change.turned
    )


def _is_encoder(session: Session, sequence_id: int) -> bool:
    document = session.scalar(
        select(Certificate.document)
        .join(Version, Version.certificate_id == Certificate.id)
        .where(Version.sequence_id == sequence_id, Version.number == 1)
    )
    return document is not None and has_heads(document)


def _version_lines(
    versions: Sequence[VersionRow],
    wanted: Iterable[int],
    figures: Sequence[VersionFigures],
    *,
    verdicts: Mapping[int, bool],
    serving: SequenceHead,
    stale: Mapping[int, str],
) -> tuple[VersionLine, ...]:
    known = {each.version: each for each in versions}
    told = {each.version: each for each in figures}
    aliases = (
        ("champion", serving.champion),
        ("candidate", serving.candidate),
        ("previous", serving.previous),
    )
    return tuple(
        VersionLine(
            version=number,
            task=row.task,
            state=row.state,
            at=row.registered or row.created,
            level=row.level,
            certificate_sha256=row.certificate_sha256,
            covers=number - 1,
            read=row.read,
            entries=row.nnz,
            gate_ok=verdicts.get(number),
            aliases=tuple(alias for alias, version in aliases if version == number),
            stale=stale.get(number),
            figures=told.get(number),
        )
        for number in sorted(wanted, reverse=True)
        if (row := known.get(number)) is not None
    )


def _names(value: object) -> tuple[str, ...]:
    return tuple(str(each) for each in value) if isinstance(value, list) else ()


def _counted(levels: Iterable[str]) -> dict[str, int]:
    counted: dict[str, int] = {}
    for level in levels:
        counted[level] = counted.get(level, 0) + 1
    return dict(sorted(counted.items()))
