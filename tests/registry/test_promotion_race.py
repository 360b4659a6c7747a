"""Promotions at once, and promotions killed, by real processes on a real MLflow store."""

import shutil
from pathlib import Path

import pytest
from decision_cases import ANN
from registry_examples import die, killed_or_done

from registry.applying import RECONCILER, reconcile
from registry.decisions import Alias
from registry.desk import Desk
from registry.settings import Settings, switch_telemetry_off
from registry.store import Registry, open_registry
from tests.registry.soak_race import MODEL, WHY, learned, promote_at_once

switch_telemetry_off()

from registry.mlflow_aliases import MlflowAliases  # noqa: E402

pytestmark = pytest.mark.slow


@pytest.fixture
def racing_home(home: Path, mlflow_store: Path) -> Path:
    shutil.copytree(mlflow_store, home)
    return home


@pytest.mark.parametrize(
    ("kind", "contenders"), [("sqlite", 20), ("postgresql", 6)], ids=["sqlite", "postgresql"]
)
def test_of_promotions_at_once_one_is_applied_and_no_reader_misses_the_alias(
    request: pytest.FixtureRequest,
    racing_home: Path,
    tmp_path: Path,
    kind: str,
    contenders: int,
) -> None:
    if kind == "postgresql":
        request.getfixturevalue("url")
    said = promote_at_once(racing_home, tmp_path / "learned", contenders)
    assert said.startswith(f"1 of {contenders} applied")


class _Dying(MlflowAliases):
    """The real store, whose process is killed right before or right after it sets an alias."""

    def __init__(self, settings: Settings, *, after: bool) -> None:
        super().__init__(settings)
        self._after = after

    def set_alias(self, model_name: str, alias: Alias, model_version: int) -> None:
        if self._after:
            super().set_alias(model_name, alias, model_version)
        die()


@pytest.mark.parametrize("after", [True, False], ids=["after", "before"])
def test_a_promotion_killed_around_setting_the_alias_is_ended_and_the_log_tells(
    database_kind: str, racing_home: Path, tmp_path: Path, after: bool
) -> None:
    learned(racing_home, tmp_path / "learned", 2)

    def promotion() -> None:
        with open_registry(racing_home) as registry:
            registry._aliases = _Dying(registry.settings, after=after)
            Desk(registry, ANN).promote("assistant", 2, reason=WHY)

    assert killed_or_done(promotion) == -9
    with open_registry(racing_home) as registry:
        assert Desk(registry, ANN).champion("assistant") == 1
        assert [entry.kind for entry in Desk(registry, ANN).log("assistant")][3:] == [
            "requested",
            "applying",
        ]
        reconcile(registry, "assistant")
        _is_ended(registry, champion=2 if after else 1)
        assert reconcile(registry, "assistant") == ()


def _is_ended(registry: Registry, champion: int) -> None:
    desk = Desk(registry, ANN)
    last = desk.log("assistant")[-1]
    assert (last.kind, last.actor) == ("applied" if champion == 2 else "failed", RECONCILER)
    assert "interrupted" in str(last.payload)
    assert desk.champion("assistant") == champion
    served = registry.version("assistant", champion).model_version
    assert registry.aliases().get_alias(MODEL, "champion") == served
    assert desk.check_history("assistant").ok


def test_back_to_the_bare_base_and_the_anchors_in_the_real_store(
    racing_home: Path, tmp_path: Path
) -> None:
    learned(racing_home, tmp_path / "learned", 1)
    with open_registry(racing_home) as registry:
        Desk(registry, ANN).rollback("assistant", reason="leaks", to_version=0)
        store = registry.aliases()
        assert store.get_alias(MODEL, "champion") == registry.base_version("assistant")
        assert store.get_alias(MODEL, "previous") == registry.version("assistant", 1).model_version
        checked = Desk(registry, ANN).check_history("assistant")
        assert checked.ok
        assert store.model_tags(MODEL)["lori.log_head"] == checked.head
        assert store.model_tags(MODEL)["lori.log_length"] == str(checked.length) == "6"
