"""MLflow as the store of runs and bytes (importing it takes seconds: `registry.mlflow_*` alone do).

Each version is one run, one logged model (models-from-code: nothing is pickled) and one model
version. Import this only through `Registry`, which switches telemetry off first.
"""

import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from urllib.parse import unquote, urlsplit

import mlflow
from mlflow.entities import (
    LoggedModel,
    LoggedModelOutput,
    LoggedModelStatus,
    Metric,
    Param,
    Run,
    RunTag,
)

from lori_core.errors import BadInput
from registry.artifacts import FILES, Filing, Upload
from registry.mlflow_connection import Told, already_there, connect, process_wide
from registry.mlflow_served import (
    serve as serve,  # the code file of older versions asks for it here
)
from registry.mlflow_served import write_frame
from registry.settings import Settings

PAGE = 1000


class MlflowArtifacts:
    """Files versions in MLflow and fetches them again. Implements `ArtifactStore`."""

    def __init__(self, settings: Settings, allowed: Callable[[], None] = lambda: None) -> None:
        """Connect; a fresh local store is made here.

        Args:
            settings: which store.
            allowed: called before each of the writes a filing is made of; raises to end it there.

        Raises:
            Unavailable: the store or server does not answer, or cannot be written.
        """
        self._settings = settings
        self._allowed = allowed
        self._told = Told(settings)
        self._client = connect(settings)

    def start_run(self, filing: Filing) -> str:
        """Find or start the version's one run; returns its id."""
        with self._told():
            experiment = self._experiment(filing)
            if not (runs := self._runs(experiment, filing.key)):
                self._allowed()
                self._client.create_run(
                    experiment,
                    start_time=_milliseconds(filing),
                    tags={"key": filing.key},
                    run_name=f"{filing.sequence}/{filing.version} {filing.task}",
                )
                runs = self._runs(experiment, filing.key)
            for doubled in runs[1:]:  # a create that was answered by an error, and retried
                self._allowed()
                self._client.delete_run(doubled.info.run_id)
            run_id = runs[0].info.run_id
            params = [Param(name, value) for name, value in filing.params.items()]
            tags = [RunTag(name, value) for name, value in _tags(filing).items()]
            self._allowed()
            self._client.log_batch(run_id, params=params, tags=tags)
            self._allowed()
            self._client.log_dict(run_id, dict(filing.manifest), "manifest.json")
            return str(run_id)

    def upload(self, filing: Filing, run_id: str, folder: Path) -> Upload:
        """Find the finished upload of exactly these files, or make it and remove what else was begun."""
        with self._told():
            finished: LoggedModel | None = None
            for model in self._models(self._experiment(filing), filing.key):
                same = model.tags.get("manifest_sha256") == filing.manifest_sha256
                if finished is None and same and model.status == LoggedModelStatus.READY:
                    finished = model
                else:
                    self._discard(filing.model_name, model.model_id)
            if finished is None:
                finished = self._upload(filing, run_id, folder)
                for model in self._models(self._experiment(filing), filing.key):
                    if model.model_id != finished.model_id:  # doubled, as a run may be
                        self._discard(filing.model_name, model.model_id)
            return self._uploaded(finished)

    def discard(self, model_id: str) -> None:
        """Take an upload out of use."""
        with self._told():
            model = self._client.get_logged_model(model_id)
            self._discard(model.tags["model_name"], model_id)

    def fetch(self, uri: str, into: Path) -> None:
        """Copy the files at a URI of ours into an empty folder."""
        with self._told():
            mlflow.artifacts.download_artifacts(
                artifact_uri=uri, dst_path=str(into), tracking_uri=self._settings.tracking_uri
            )
            arrived = into / Path(FILES).name
            if arrived.is_dir():  # MLflow keeps the folder's own name
                for path in arrived.iterdir():
                    shutil.move(path, into / path.name)
                arrived.rmdir()

    def create_version(self, filing: Filing, run_id: str, model_id: str) -> int:
        """Find or create the one model version of an upload; returns its number."""
        with self._told():
            self._link(filing, run_id, model_id)
            self._registered_model(filing)
            if not (found := self._versions(filing.model_name, model_id)):
                with process_wide(self._settings.tracking_uri):
                    self._allowed()
                    self._client.create_model_version(
                        filing.model_name,
                        source=f"models:/{model_id}",
                        run_id=run_id,
                        tags=_tags(filing),
                        model_id=model_id,
                    )
                found = self._versions(filing.model_name, model_id)
            for doubled in found[1:]:  # as a run may be
                self._allowed()
                self._client.delete_model_version(filing.model_name, str(doubled))
            return found[0]

    def finish_run(self, filing: Filing, run_id: str, metrics: Mapping[str, float]) -> None:
        """Log the metrics at step `filing.version` and end the run."""
        with self._told():
            when = _milliseconds(filing)
            logged = [Metric(name, value, when, filing.version) for name, value in metrics.items()]
            for start in range(0, len(logged), PAGE):
                self._allowed()
                self._client.log_batch(run_id, metrics=logged[start : start + PAGE])
            self._allowed()
            self._client.set_terminated(run_id, "FINISHED")

    def _experiment(self, filing: Filing) -> str:
        name = filing.model_name
        found = self._client.get_experiment_by_name(name)
        if found is None:
            root = self._settings.artifact_root
            location = None if root is None else (root / name).as_uri()
            with already_there():
                self._allowed()
                return str(self._client.create_experiment(name, artifact_location=location))
            found = self._client.get_experiment_by_name(name)
        if found.lifecycle_stage != "active":
            raise BadInput(
                f"MLflow experiment {name!r} ({found.lifecycle_stage})",
                "an active experiment",
                "Restore it in MLflow.",
            )
        return str(found.experiment_id)

    def _link(self, filing: Filing, run_id: str, model_id: str) -> None:
        outputs = self._client.get_run(run_id).outputs
        known = [output.model_id for output in outputs.model_outputs] if outputs else []
        if model_id not in known:
            self._allowed()
            self._client.log_outputs(run_id, [LoggedModelOutput(model_id, filing.version)])

    def _registered_model(self, filing: Filing) -> None:
        with already_there():
            self._allowed()
            self._client.create_registered_model(
                filing.model_name,
                tags={"sequence": filing.sequence},
                description=f"Versions of the sequence {filing.sequence}, filed by lori.",
            )

    def _upload(self, filing: Filing, run_id: str, folder: Path) -> LoggedModel:
        self._allowed()
        model = self._client.create_logged_model(
            self._experiment(filing),
            name=filing.model_name,
            source_run_id=run_id,
            tags={**_tags(filing), "model_name": filing.model_name},
        )
        frame = self._settings.home / f"filing-{filing.key[:16]}"
        self._allowed()
        shutil.rmtree(frame, ignore_errors=True)  # of a killed attempt
        write_frame(frame, filing)
        self._allowed()
        self._client.log_model_artifacts(model.model_id, str(frame))
        self._allowed()
        self._client.log_model_artifacts(model.model_id, str(folder), FILES)
        self._allowed()
        shutil.rmtree(frame)
        self._allowed()
        return self._client.finalize_logged_model(model.model_id, LoggedModelStatus.READY)

    def _uploaded(self, model: LoggedModel) -> Upload:
        uri = f"{model.artifact_location.rstrip('/')}/{FILES}"
        parts = urlsplit(uri)
        if parts.scheme in {"", "file"}:
            path = Path(unquote(parts.path))
            if path.is_relative_to(self._settings.home):
                uri = path.relative_to(self._settings.home).as_posix()
            else:
                uri = path.as_uri()
        return Upload(model_id=model.model_id, artifact_uri=uri)

    def _discard(self, model_name: str, model_id: str) -> None:
        for number in self._versions(model_name, model_id):
            self._allowed()
            self._client.delete_model_version(model_name, str(number))
        self._allowed()
        self._client.finalize_logged_model(model_id, LoggedModelStatus.FAILED)
        location = urlsplit(self._client.get_logged_model(model_id).artifact_location)
        self._allowed()
        self._client.delete_logged_model(model_id)
        if location.scheme in {"", "file"}:  # MLflow marks it deleted and leaves the bytes
            self._allowed()
            _empty(Path(unquote(location.path)))

    def _runs(self, experiment: str, key: str) -> list[Run]:
        found = self._client.search_runs(
            [experiment], f"tags.key = '{key}'", order_by=["attributes.start_time ASC"]
        )
        return list(found)

    def _models(self, experiment: str, key: str) -> list[LoggedModel]:
        found = self._client.search_logged_models(
            [experiment],
            filter_string=f"tags.key = '{key}'",
            order_by=[{"field_name": "creation_timestamp", "ascending": True}],
        )
        return list(found)

    def _versions(self, model_name: str, model_id: str) -> list[int]:
        found = self._client.search_model_versions(f"source_path = 'models:/{model_id}'")
        return sorted(int(version.version) for version in found if version.name == model_name)


def _empty(folder: Path) -> None:
    """Remove what is in a folder and leave the folder, which MLflow's gc expects to find."""
    for path in folder.glob("*"):
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink()


def _tags(filing: Filing) -> dict[str, str]:
    return {
        "key": filing.key,
        "sequence": filing.sequence,
        "version": str(filing.version),
        "task": filing.task,
        "adapter_sha256": filing.adapter_sha256,
        "mask_sha256": filing.mask_sha256,
        "manifest_sha256": filing.manifest_sha256,
        "certificate": filing.certificate,
    }


def _milliseconds(filing: Filing) -> int:
    return int(filing.begun.timestamp() * 1000)
