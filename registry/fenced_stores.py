"""MLflow as the run of one arrival may write it: each write asks first whether it is still its turn.

MLflow knows nothing of our transactions, so a run that is stopped between the question and the call
may still make this one call when it wakes; nothing follows it.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from registry.aliases import AliasStore
from registry.artifacts import ArtifactStore, Filing, Upload
from registry.decisions import Alias
from registry.inventory import Inventory, Stockroom

Allowed = Callable[[], None]
"""Raises `FenceLost` where a write is no longer this run's to make."""


@dataclass(frozen=True, slots=True)
class FencedArtifacts:
    """An artifact store that asks before each write. Implements `registry.artifacts.ArtifactStore`."""

    found: Callable[[], ArtifactStore]
    allowed: Allowed

    def start_run(self, filing: Filing) -> str:
        """As the store, if it is still our turn."""
        self.allowed()
        return self.found().start_run(filing)

    def upload(self, filing: Filing, run_id: str, folder: Path) -> Upload:
        """As the store, if it is still our turn."""
        self.allowed()
        return self.found().upload(filing, run_id, folder)

    def discard(self, model_id: str) -> None:
        """As the store, if it is still our turn."""
        self.allowed()
        self.found().discard(model_id)

    def fetch(self, uri: str, into: Path) -> None:
        """As the store: it writes nothing there."""
        self.found().fetch(uri, into)

    def create_version(self, filing: Filing, run_id: str, model_id: str) -> int:
        """As the store, if it is still our turn."""
        self.allowed()
        return self.found().create_version(filing, run_id, model_id)

    def finish_run(self, filing: Filing, run_id: str, metrics: Mapping[str, float]) -> None:
        """As the store, if it is still our turn."""
        self.allowed()
        self.found().finish_run(filing, run_id, metrics)


@dataclass(frozen=True, slots=True)
class FencedAliases:
    """Aliases and tags, asked before each write. Implements `registry.aliases.AliasStore`."""

    found: Callable[[], AliasStore]
    allowed: Allowed

    def set_alias(self, model_name: str, alias: Alias, model_version: int) -> None:
        """As the store, if it is still our turn."""
        self.allowed()
        self.found().set_alias(model_name, alias, model_version)

    def serves(self, model_name: str, model_version: int, model_id: str) -> bool:
        """As the store."""
        return self.found().serves(model_name, model_version, model_id)

    def get_alias(self, model_name: str, alias: Alias) -> int | None:
        """As the store."""
        return self.found().get_alias(model_name, alias)

    def delete_alias(self, model_name: str, alias: Alias) -> None:
        """As the store, if it is still our turn."""
        self.allowed()
        self.found().delete_alias(model_name, alias)

    def set_model_tags(self, model_name: str, tags: Mapping[str, str]) -> None:
        """As the store, if it is still our turn."""
        self.allowed()
        self.found().set_model_tags(model_name, tags)

    def model_tags(self, model_name: str) -> Mapping[str, str]:
        """As the store."""
        return self.found().model_tags(model_name)


@dataclass(frozen=True, slots=True)
class FencedStockroom:
    """What MLflow holds, asked before each change. Implements `registry.inventory.Stockroom`."""

    found: Callable[[], Stockroom]
    allowed: Allowed

    def inventory(self, model_name: str) -> Inventory:
        """As the store."""
        return self.found().inventory(model_name)

    def restore_experiment(self, model_name: str) -> None:
        """As the store, if it is still our turn."""
        self.allowed()
        self.found().restore_experiment(model_name)

    def restore_run(self, run_id: str) -> None:
        """As the store, if it is still our turn."""
        self.allowed()
        self.found().restore_run(run_id)

    def delete_run(self, run_id: str) -> None:
        """As the store, if it is still our turn."""
        self.allowed()
        self.found().delete_run(run_id)

    def delete_upload(self, model_id: str) -> None:
        """As the store, if it is still our turn."""
        self.allowed()
        self.found().delete_upload(model_id)

    def delete_version(self, model_name: str, number: int) -> None:
        """As the store, if it is still our turn."""
        self.allowed()
        self.found().delete_version(model_name, number)
