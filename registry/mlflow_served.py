"""A filed version as MLflow's pyfunc, and how it finds the versions it stands on.

This is the way out of this project, for whoever loads `models:/lori-<sequence>@champion`: code that
comes with the files runs there, so the files are checked against the manifest beside them. `lori
predict` and `lori export` check against the registry's own rows.
"""

import json
import tempfile
import warnings
from pathlib import Path
from urllib.parse import unquote, urlsplit

import mlflow
from mlflow import MlflowClient
from mlflow.models import ModelSignature, set_model
from mlflow.pyfunc import PythonModelContext, save_model
from mlflow.types import ColSpec, DataType, ParamSchema, ParamSpec, Schema

from lori_core.digests import write_json
from lori_core.errors import CheckFailed
from registry.artifacts import FILES, Filing
from registry.served import ServedVersion, Stored, open_served

MANIFEST = "artifacts/manifest.json"

SHIM = """# Holds no logic: the installed lori-pipeline checks the files and answers.
from registry.mlflow_served import serve

serve()
"""

SIGNATURE = ModelSignature(
    inputs=Schema([ColSpec(DataType.string, "prompt")]),
    outputs=Schema([ColSpec(DataType.string)]),
    params=ParamSchema(
        [
            ParamSpec("task", DataType.string, ""),
            ParamSpec("read", DataType.string, ""),
            ParamSpec("max_new_tokens", DataType.long, 64),
        ]
    ),
)

with warnings.catch_warnings(record=True):  # MLflow wants type hints, which it reads as a schema

    class ServedModel(mlflow.pyfunc.PythonModel):  # type: ignore[misc]
        """`models:/lori-<sequence>/<version>` as a pyfunc: a column `prompt` in, answers out."""

        def load_context(self, context: PythonModelContext) -> None:
            """Check every file, then open the adapter on its base."""
            place = Path(context.artifacts["manifest"])
            self._fetched = tempfile.TemporaryDirectory(prefix="lori-served-")
            self._served: ServedVersion = open_served(
                json.loads(place.read_text("utf-8")), place.parent / Path(FILES).name, self._fetch
            )

        def predict(self, context, model_input, params=None):  # type: ignore[no-untyped-def]
            """Answer each prompt; `params` may name `task`, `read` and `max_new_tokens`."""
            told = params or {}
            return self._served.answer(
                list(model_input["prompt"]),
                task=str(told.get("task", "")),
                read=str(told.get("read", "")),
                max_new_tokens=int(told.get("max_new_tokens", 64)),
            )

        def _fetch(self, manifest_sha256: str) -> Stored:
            into = Path(self._fetched.name) / manifest_sha256
            into.mkdir(exist_ok=True)
            return fetch_stored(manifest_sha256, into)


def serve() -> None:
    """Called by the code file of a stored version when MLflow loads it."""
    set_model(ServedModel())


def fetch_stored(manifest_sha256: str, into: Path) -> Stored:
    """The manifest and files of the version with this manifest, wherever MLflow has them now.

    Versions are found by content, not by number: those may be used again. Files on this machine are
    read where they lie. Nothing is checked here.

    Raises:
        CheckFailed: MLflow knows no such version.
    """
    client = MlflowClient()
    found = client.search_model_versions(
        f"tags.manifest_sha256 = '{manifest_sha256}'", order_by=["version_number DESC"]
    )
    for version in found:
        if not version.source.startswith("models:/m-"):
            continue
        model = client.get_logged_model(version.source.removeprefix("models:/"))
        manifest, folder = (
            _here(model.artifact_location, path, into) for path in (MANIFEST, FILES)
        )
        return json.loads(manifest.read_text("utf-8")), folder
    raise CheckFailed(
        "served", f"MLflow has no version with the manifest {manifest_sha256[:16]}; see lori doctor"
    )


def _here(location: str, path: str, into: Path) -> Path:
    """A file or folder of a model on this machine: where it lies, or a copy of what is remote."""
    parts = urlsplit(location)
    if parts.scheme in {"", "file"}:
        return Path(unquote(parts.path)) / path
    uri = f"{location.rstrip('/')}/{path}"
    return Path(mlflow.artifacts.download_artifacts(artifact_uri=uri, dst_path=str(into)))


def write_frame(frame: Path, filing: Filing) -> None:
    """Write what MLflow needs around a version's files: MLmodel, the code file, the manifest."""
    with tempfile.TemporaryDirectory(dir=frame.parent, prefix="filing-sources-") as fresh:
        sources = Path(fresh)
        (sources / "serve.py").write_text(SHIM, "utf-8")
        write_json(sources / "manifest.json", filing.manifest)
        with warnings.catch_warnings(record=True):  # it asks for an example, and would run the base
            save_model(
                frame,
                python_model=str(sources / "serve.py"),
                artifacts={"manifest": str(sources / "manifest.json")},
                signature=SIGNATURE,
                pip_requirements=["lori-pipeline"],
            )
