"""What MLflow holds under a model's name, read page by page, and how to take things out of use."""

from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Protocol, TypeVar

from mlflow.entities import LoggedModelStatus, ViewType

from registry.inventory import Inventory, Stage, StoredRun, StoredUpload, StoredVersion
from registry.mlflow_connection import Told, connect
from registry.settings import Settings

PAGE = 1000

T_co = TypeVar("T_co", covariant=True)


class _Page(Protocol[T_co]):
    token: str | None

    def __iter__(self) -> Iterator[T_co]: ...


class MlflowInventory:
    """Implements `Stockroom`."""

    def __init__(self, settings: Settings) -> None:
        """Connect.

        Raises:
            Unavailable: the store or server does not answer, or cannot be written.
        """
        self._told = Told(settings)
        self._client = connect(settings)

    def inventory(self, model_name: str) -> Inventory:
        """Everything under a model's name, however much it is."""
        with self._told():
            experiment = self._client.get_experiment_by_name(model_name)
            stage: Stage = "missing"
            if experiment is not None:
                stage = "active" if experiment.lifecycle_stage == "active" else "deleted"
            there = stage == "active"
            return Inventory(
                experiment=stage,
                known=bool(self._client.search_registered_models(f"name = '{model_name}'", 1)),
                runs=tuple(self._runs(experiment.experiment_id)) if there else (),
                uploads=(
                    {each.model_id: each for each in self._uploads(experiment.experiment_id)}
                    if there
                    else {}
                ),
                versions={each.number: each for each in self._versions(model_name)},
            )

    def restore_experiment(self, model_name: str) -> None:
        """Take back that the experiment was deleted."""
        with self._told():
            experiment = self._client.get_experiment_by_name(model_name)
            self._client.restore_experiment(experiment.experiment_id)

    def restore_run(self, run_id: str) -> None:
        """Take back that a run was deleted."""
        with self._told():
            self._client.restore_run(run_id)

    def delete_run(self, run_id: str) -> None:
        """Mark a run deleted; MLflow's gc destroys it later."""
        with self._told():
            self._client.delete_run(run_id)

    def delete_upload(self, model_id: str) -> None:
        """Mark an upload deleted; MLflow's gc destroys it later."""
        with self._told():
            self._client.finalize_logged_model(model_id, LoggedModelStatus.FAILED)
            self._client.delete_logged_model(model_id)

    def delete_version(self, model_name: str, number: int) -> None:
        """Delete a model version (not the files it serves)."""
        with self._told():
            self._client.delete_model_version(model_name, str(number))

    def _runs(self, experiment: str) -> Iterator[StoredRun]:
        for run in _all(
            lambda token: self._client.search_runs(
                [experiment], run_view_type=ViewType.ALL, max_results=PAGE, page_token=token
            )
        ):
            yield StoredRun(
                run_id=run.info.run_id,
                key=run.data.tags.get("key", ""),
                ended=run.info.status != "RUNNING",
                deleted=run.info.lifecycle_stage != "active",
                begun=_time(run.info.start_time),
            )

    def _uploads(self, experiment: str) -> Iterator[StoredUpload]:
        for model in _all(
            lambda token: self._client.search_logged_models(
                [experiment], max_results=PAGE, page_token=token
            )
        ):
            yield StoredUpload(
                model_id=model.model_id,
                key=model.tags.get("key", ""),
                ready=model.status == LoggedModelStatus.READY,
                begun=_time(model.creation_timestamp),
            )

    def _versions(self, model_name: str) -> Iterator[StoredVersion]:
        for version in _all(
            lambda token: self._client.search_model_versions(
                f"name = '{model_name}'",
                max_results=PAGE,
                order_by=["version_number ASC"],  # pages are offsets: stable only in this order
                page_token=token,
            )
        ):
            source = version.source or ""
            yield StoredVersion(
                number=int(version.version),
                key=version.tags.get("key", ""),
                model_id=source.removeprefix("models:/") if "models:/m-" in source else None,
            )


def _all(page: Callable[[str | None], "_Page[T_co]"]) -> Iterator[T_co]:
    """Every item of a search, however many pages it has."""
    token: str | None = None
    while True:
        found = page(token)
        yield from found
        token = found.token
        if not token:
            return


def _time(milliseconds: int | None) -> datetime:
    return datetime.fromtimestamp((milliseconds or 0) / 1000, UTC)
