"""A registry that was there and is lost: a new, empty one in its place would say that nothing is wrong."""

from lori_core.errors import Unavailable
from registry.database import holds_something
from registry.home import ANCHORS
from registry.settings import Settings


def refuse_lost(settings: Settings) -> None:
    """Return unless the home's own registry is gone while the anchors of its logs are there.

    Raises:
        Unavailable: it is; in one line, with what to do.
    """
    place = settings.own_database
    if not settings.is_own or holds_something(place):
        return
    anchors = settings.home / ANCHORS
    if any(anchors.glob("*.json")):
        raise Unavailable(
            f"{place} ({'empty' if place.exists() else 'missing'}; {anchors} tells of a log of"
            " decisions that was there)",
            "the registry of this home",
            "Restore it from a backup, set LORI_REGISTRY_URL if it is kept elsewhere, or use another"
            " LORI_HOME.",
        )
