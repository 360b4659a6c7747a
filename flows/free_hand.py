"""Settings that decide what serves are kept from who may not promote: he cannot have it done either.

Asked when a submission is accepted, and again when a sequence's settings are about to be recorded:
another run or arrival may have recorded the sequence in between.
"""

from pathlib import Path

from flows.plan import Plan
from lori_core.errors import BadInput
from registry.accounts import accounts_exist, role_of
from registry.arrival_records import Arrival, Submission
from registry.arrivals import Arrivals
from registry.deciding import refuse_free_hand
from registry.desks import acting
from registry.people import PROXY
from registry.roles import MAY, may
from registry.store import Registry, open_registry, registry_exists


def sender_may_promote(registry: Registry, submission: Submission) -> bool:
    """Whether who sent a submission may promote; an event is nobody's.

    What a proxy's word made of somebody is not kept with what he sent, so he is taken to be none who may.
    """
    if submission.submitted_by.startswith(PROXY):
        return False
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
    refuse_free_hand(plan.file.name, plan.name, known.settings, now.settings, known.tasks)


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
            "Have an admin submit it by an account, or say `promotion: approval`.",
        )
