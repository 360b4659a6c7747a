"""A sequence as it stands when something is submitted for it: what is learned, what waits."""

from collections.abc import Mapping
from dataclasses import dataclass

from flows.arrival_plan import learned_part, mapping
from flows.recorded import Recorded
from registry.arrival_records import Arrival
from registry.arrivals import Arrivals, in_turn
from registry.records import Json
from registry.store import Registry


@dataclass(frozen=True, slots=True)
class Known:
    """A sequence as it stands: what is learned of it, and what is in its queue."""

    name: str

    learned: Recorded | None

    begun: tuple[str, ...]
    """Names of the tasks that have a version, filed or being filed, in order."""

    queue: tuple[Arrival, ...]
    """Not learned and not cancelled, in the order of their turns."""

    contents: frozenset[str]
    """Of every arrival there ever was, the cancelled ones left out."""

    names: frozenset[str]
    """Taken by a filed version or an arrival."""

    @property
    def versions(self) -> Mapping[str, int]:
        """task -> version, of what is learned."""
        filed = () if self.learned is None else self.learned.versions
        return {each.task: each.version for each in filed}

    @staticmethod
    def of(registry: Registry | None, name: str) -> "Known":
        """What a registry knows of a sequence."""
        if registry is None:
            return Known(name, None, (), (), frozenset(), frozenset())
        there = [each for each in Arrivals(registry).arrivals(name) if each.state != "cancelled"]
        found = registry.find_sequence(name) is not None
        begun = tuple(each.task for each in registry.versions(name)) if found else ()
        learned = learned_part(registry, name)
        filed = () if learned is None else tuple(each.task for each in learned.versions)
        return Known(
            name,
            learned,
            begun,
            in_turn(each for each in there if each.state != "learned"),
            frozenset(each.content for each in there),
            frozenset([*filed, *(each.task for each in there)]),
        )

    @property
    def newest(self) -> Arrival | None:
        """What came last of its queue; None where that is empty."""
        return max(self.queue, key=lambda each: each.id, default=None)

    @property
    def shared(self) -> Json | None:
        """Base, adapter and training as the sequence has them; None where nothing is known of it."""
        if self.newest is not None:
            document = self.newest.document
            return {key: document[key] for key in ("base", "adapter", "training")}
        if self.learned is None:
            return None
        record = self.learned.record
        return {
            "base": {"path": record.base_path, **record.base},
            "adapter": record.adapter,
            "training": record.settings.get("training", {}),  # homes of before it was kept
        }

    @property
    def base_path(self) -> str | None:
        """Where its base lies; None where it is not known."""
        shared = self.shared
        if shared is None:
            return None
        return str(mapping(shared["base"])["path"])
