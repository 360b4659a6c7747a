"""MLflow's aliases and model tags, set without reading every version of the model first.

`MlflowClient.set_registered_model_alias` begins by loading the registered model, all its versions
and their tags, to ask whether it is a prompt: linear in the number of versions. Ours are no
prompts, so we ask the registry store beneath the client, which is the one the client itself uses.
`_get_store` is private to MLflow; the bound on its version in pyproject.toml and the tests of this
file hold it. A server still does the same reading on its side, once for each call (twice less
than through the client).
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from mlflow.entities.model_registry import RegisteredModelTag
from mlflow.exceptions import MlflowException
from mlflow.tracking._model_registry.utils import _get_store

from lori_core.errors import CheckFailed
from registry.decisions import Alias
from registry.mlflow_connection import Told, connect
from registry.settings import Settings

_GONE = {"RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"}
"""What MLflow answers for a version, and for an alias, that it does not know."""


class MlflowAliases:
    """Aliases and tags of registered models. Implements `AliasStore`."""

    def __init__(self, settings: Settings) -> None:
        """Connect; a fresh local store is made here.

        Raises:
            Unavailable: the store or server does not answer, or cannot be written.
        """
        self._told = Told(settings)
        self._client = connect(settings)
        self._store = _get_store(settings.tracking_uri, settings.tracking_uri)

    def set_alias(self, model_name: str, alias: Alias, model_version: int) -> None:
        """Point an alias at a version; at once, for every reader."""
        with self._told(), _known(f"{model_name} version {model_version}"):
            self._store.set_registered_model_alias(model_name, alias, str(model_version))

    def serves(self, model_name: str, model_version: int, model_id: str) -> bool:
        """Whether a version is there and serves this upload: a name made anew numbers from 1 again."""
        with self._told():
            try:
                found = self._store.get_model_version(model_name, str(model_version))
            except MlflowException as error:
                if error.error_code not in _GONE:
                    raise
                return False
            return str(found.source) == f"models:/{model_id}"

    def get_alias(self, model_name: str, alias: Alias) -> int | None:
        """The version an alias points at, or None."""
        with self._told():
            try:
                found = self._store.get_model_version_by_alias(model_name, alias)
            except MlflowException as error:
                if error.error_code not in _GONE:
                    raise
                return None
            return int(found.version)

    def delete_alias(self, model_name: str, alias: Alias) -> None:
        """Take an alias away; nothing happens where there is none."""
        with self._told():
            try:
                self._store.delete_registered_model_alias(model_name, alias)
            except MlflowException as error:
                if error.error_code not in _GONE:
                    raise

    def set_model_tags(self, model_name: str, tags: Mapping[str, str]) -> None:
        """Set tags of a registered model."""
        with self._told(), _known(model_name):
            for key, value in tags.items():
                self._store.set_registered_model_tag(model_name, RegisteredModelTag(key, value))

    def model_tags(self, model_name: str) -> Mapping[str, str]:
        """Every tag of a registered model; empty where MLflow does not know the model."""
        with self._told():
            found = self._store.search_registered_models(f"name = '{model_name}'", max_results=1)
            return dict(found[0].tags) if found else {}


@contextmanager
def _known(what: str) -> Iterator[None]:
    """Say in one line that MLflow lost something we know: it was deleted there."""
    try:
        yield
    except MlflowException as error:
        if error.error_code not in _GONE:
            raise
        detail = f"it knows no {what}; `lori doctor` looks for what is lost"
        raise CheckFailed("mlflow", detail) from error
