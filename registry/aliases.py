"""What serves, as MLflow shows it: aliases of a sequence's registered model, and tags on it.

Numbers here are MLflow's own version numbers, not ours (`FiledVersion.model_version` links the
two; `Registry.base_version` gives the number that serves the bare base). An alias is a projection
of our promotions: our rows are the truth, `lori doctor` mends the rest.
"""

from collections.abc import Mapping
from typing import Protocol

from registry.decisions import Alias


class AliasStore(Protocol):
    """What promotion asks of MLflow. Every method may be called again after a crash.

    A method raises BadInput where the store does not answer, and CheckFailed where MLflow lost the
    model or version that is named.
    """

    def set_alias(self, model_name: str, alias: Alias, model_version: int) -> None:
        """Point an alias at a version; at once, for every reader."""

    def serves(self, model_name: str, model_version: int, model_id: str) -> bool:
        """Whether a version is there and serves this upload: a name made anew numbers from 1 again."""

    def get_alias(self, model_name: str, alias: Alias) -> int | None:
        """The version an alias points at, or None."""

    def delete_alias(self, model_name: str, alias: Alias) -> None:
        """Take an alias away; nothing happens where there is none."""

    def set_model_tags(self, model_name: str, tags: Mapping[str, str]) -> None:
        """Set tags of a registered model."""

    def model_tags(self, model_name: str) -> Mapping[str, str]:
        """Every tag of a registered model; empty where MLflow does not know the model."""
