"""Settings that decide what serves are kept from who may not promote: he cannot have it done either.

Asked when a submission is accepted, and again when a sequence's settings are about to be recorded:
another run or arrival may have recorded the sequence in between.
"""

from collections.abc import Collection, Mapping
from dataclasses import asdict
from pathlib import Path

from flows.plan import Plan
from lori_core.config import GateConfig
from lori_core.errors import BadInput
from registry.accounts import accounts_exist, role_of
from registry.arrival_records import Arrival, Submission
from registry.arrivals import Arrivals
from registry.changes import changes
from registry.desks import acting
from registry.records import Json
from registry.roles import MAY, may
from registry.store import Registry, open_registry, registry_exists

DECIDES = ("gate", "guards", "promotion")
"""Settings that decide what serves."""


def sender_may_promote(registry: Registry, submission: Submission) -> bool:
    """Whether who sent a submission may promote; an event is nobody's."""
    if not accounts_exist(registry):
        return True
    role = None if submission.source == "event" else role_of(registry, submission.submitted_by)
    return role is not None and "promote" in MAY[role]


def sender_of_arrival_may_promote(registry: Registry, arrival: Arrival) -> bool:
    """As `sender_may_promote`: a worker learns on the sender's word, whatever it may itself."""
    if arrival.submission_id is None:
        return not accounts_exist(registry)
    return sender_may_promote(registry, Arrivals(registry).submission(arrival.submission_id))


def refuse_free_run(plan: Plan, home: Path) -> None:
    """Refuse a file that `lori run` was given, before anything heavy; `declare` asks again.

    Raises:
        BadInput: names what it would change, where who acts may not promote.
    """
    if not (home.is_dir() and registry_exists(home)):
        return
    with open_registry(home) as registry:
        if not may(acting(registry), "promote"):
            refuse_free_plan(registry, plan)


def refuse_free_plan(registry: Registry, plan: Plan) -> None:
    """Refuse a plan that would change what decides about a sequence, or promote a new one by itself.

    Raises:
        BadInput: names what it would change.
    """
    known = registry.find_sequence(plan.name)
    if known is None:
        refuse_auto(plan.file.name, plan.name, plan.config.promotion)
        return
    now = plan.sequence_record(known.base_digest)
    # a plan holds no more tasks than there are by its turn; guards not learned yet count later
    both = set(known.tasks) & set(now.tasks)
    refuse_free_hand(plan.file.name, plan.name, known.settings, now.settings, both)


def refuse_auto(name: str, sequence: str, promotion: object) -> None:
    """A new sequence is declared as one likes, but for versions that are promoted by themselves.

    Args:
        name: opens the message.
        sequence: that is new.
        promotion: what its file says.

    Raises:
        BadInput: it says so.
    """
    if promotion == "auto":
        raise BadInput(
            f"{name}: promotion of {sequence!r}, whose versions are"
            " promoted by themselves once they pass",
            "the word of somebody who may promote",
            "Have an admin submit it, or say `promotion: approval`.",
        )


def refuse_free_hand(
    name: str, sequence: str, was: Json, now: Json, tasks: Collection[str]
) -> None:
    """Refuse settings that decide what serves and are others than those that are known.

    Args:
        name: opens the message.
        sequence: whose settings they are.
        was: its settings as they are known.
        now: its settings as they would be.
        tasks: those that were known; whether a new one is a guard is its sender's to say.

    Raises:
        BadInput: names what would change.
    """
    found = list(changes(_deciding(was, tasks), _deciding(now, tasks)))
    if not found:
        return
    kept = ", ".join(f"{change.part}: {change.was}" for change in found)
    raise BadInput(
        f"{name}: {', '.join(change.part for change in found)} of {sequence!r} would change",
        "the settings it has, for they decide what serves: changing them takes an admin",
        f"Have an admin submit it, or leave them as they are ({kept}).",
    )


def _deciding(settings: Json, tasks: Collection[str]) -> Json:
    """What decides, whole: homes of before recorded fewer keys."""
    gate, guards = settings.get("gate", {}), settings.get("guards", ())
    assert isinstance(gate, Mapping)
    assert isinstance(guards, list | tuple)
    return {
        "gate": {**asdict(GateConfig()), **gate},
        "guards": sorted(set(guards) & set(tasks)),
        "promotion": settings.get("promotion", "manual"),
    }
