"""Settings that decide what serves, and who may not change them.

Kept from whoever may not promote: by a file, and by an older submission that he lets go on.
"""

from collections.abc import Collection, Mapping
from dataclasses import asdict

from lori_core.config import GateConfig
from lori_core.errors import BadInput
from registry.changes import changes
from registry.records import Json

DECIDES = ("gate", "guards", "promotion")
"""Settings that decide what serves."""


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
        f"Have an admin do it by an account, or leave them as they are ({kept}).",
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
