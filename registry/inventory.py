"""What MLflow holds under the name of one sequence's model, as the doctor looks at it."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Literal, Protocol

Stage = Literal["active", "deleted", "missing"]


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredRun:
    """One run of the model's experiment."""

    run_id: str
    key: str
    """Of the version it is a run of; "" where it says none."""
    ended: bool
    deleted: bool
    """MLflow's gc will destroy it."""
    begun: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredUpload:
    """One logged model that is not deleted: a version's files."""

    model_id: str
    key: str
    ready: bool
    """False: the upload never ended."""
    begun: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredVersion:
    """One model version."""

    number: int
    key: str
    model_id: str | None
    """The upload it serves; None where its source is no logged model."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Inventory:
    """Everything under one model's name."""

    experiment: Stage
    known: bool
    """Whether there is a registered model of this name."""
    runs: tuple[StoredRun, ...]
    uploads: Mapping[str, StoredUpload]
    """By model id."""
    versions: Mapping[int, StoredVersion]
    """By number."""


class Stockroom(Protocol):
    """What the doctor asks of MLflow."""

    def inventory(self, model_name: str) -> Inventory:
        """Everything under a model's name, however much it is."""

    def restore_experiment(self, model_name: str) -> None:
        """Take back that the experiment was deleted."""

    def restore_run(self, run_id: str) -> None:
        """Take back that a run was deleted."""

    def delete_run(self, run_id: str) -> None:
        """Mark a run deleted; MLflow's gc destroys it later."""

    def delete_upload(self, model_id: str) -> None:
        """Mark an upload deleted; MLflow's gc destroys it later."""

    def delete_version(self, model_name: str, number: int) -> None:
        """Delete a model version (not the files it serves)."""
