"""Settings that may change after learning: which did, from when on they count, what they leave open."""

from flows.plan import Plan
from lori_core.base_folder import base_family
from lori_core.cells import needed_cells, read_modes
from registry.changes import changes
from registry.records import Json
from registry.store import Registry

MEASURED = ("evaluate", "eval_rows", "guards")
"""Settings that decide which cells there are, and on how many rows."""

PROMOTION = "promotion"

JUDGED = ("gate", PROMOTION)
"""Settings that decide about versions and measure nothing."""


def changed_settings(registry: Registry, plan: Plan) -> str | None:
    """One line about settings of a recorded sequence that its file has changed; None where none has.

    Call it before the file's settings are recorded.
    """
    known = registry.find_sequence(plan.name)
    if known is None:
        return None
    now = plan.sequence_record(known.base_digest).settings
    changed = [
        change.part
        for change in changes(_judged(known.settings), _judged(now))
        if change.part.partition(".")[0] in (*MEASURED, *JUDGED)
    ]
    if not changed:
        return None
    told = " ".join(_since_when(changed))
    filed = [each for each in registry.versions(plan.name) if each.state == "registered"]
    if filed and any(part in changed for part in MEASURED):
        told += f" {_unmeasured(registry, plan, len(filed), 'eval_rows' in changed)}"
    return told


def _since_when(changed: list[str]) -> list[str]:
    """From when on changed settings count, each in its own sentence."""
    others = [part for part in changed if part != PROMOTION]
    told = []
    if others:
        told.append(f"{', '.join(others)} changed: recorded, and the next gate goes by it.")
    if PROMOTION in changed:
        told.append(
            "promotion changed: recorded. Whether a second person must approve goes by it from the "
            "next `lori promote` on; what `lori run` does by itself, from the next version on."
        )
    return told


def missing_cells(registry: Registry, plan: Plan, version: int) -> list[str]:
    """The cells a version would have under the file's settings and has not, by name."""
    config = plan.config
    there = {(c.version, c.task, c.read, c.adapter_of) for c in registry.cells(plan.name)}
    needed = needed_cells(
        tuple(task.name for task in config.tasks),
        version,
        read_modes(config.adapter),
        evaluate=config.evaluate,
        guards=config.guards,
        family=base_family(config.base),
    )
    return [
        f"{cell.task}{f' under {cell.adapter_of}' if cell.adapter_of else ''} at "
        f"{plan.name}/{cell.row_version} ({cell.read})"
        for cell in needed
        if (cell.row_version, cell.task, cell.read, cell.adapter_of) not in there
    ]


def _unmeasured(registry: Registry, plan: Plan, version: int, other_rows: bool) -> str:
    remedy = f"`lori evaluate {plan.name} --read {plan.config.adapter.read}` scores them."
    if other_rows:
        return f"Cells scored so far keep the rows they were scored on; {remedy}"
    missing = missing_cells(registry, plan, version)
    if not missing:
        return "No cell is missing."
    return f"Not measured yet: {', '.join(missing)}; {remedy}"


def _judged(settings: Json) -> Json:
    return {key: settings[key] for key in (*MEASURED, *JUDGED) if key in settings}
