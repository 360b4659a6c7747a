"""Everything a run could write, each in a registry made for it; and a turn that is lost at the n-th write."""

import inspect
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from types import FrameType

import pytest
from decision_cases import (
    ADA,
    ANN,
    BEN,
    MODEL,
    WHY,
    Faulty,
    HomeArtifacts,
    learn,
    measured,
    promote,
)
from fake_aliases import FakeAliases
from sqlalchemy import select, update
from sqlalchemy.orm import Session

from lori_core.errors import CheckFailed
from registry import applying, fence, outbox, refiling, retention, sign_ins, triggers
from registry.accounts import Accounts
from registry.arrival_models import ArrivalRow
from registry.decisions import BARE_BASE
from registry.desk import Desk
from registry.inventory import Inventory
from registry.models import Table
from registry.row_rights import RowRights
from registry.store import Registry
from registry.webhooks import Webhooks

PASSWORD = "long enough for anybody"
LATER = datetime(2100, 1, 1, tzinfo=UTC)
PAST = datetime(2026, 1, 1, tzinfo=UTC)


class EmptyStockroom:
    """Implements `registry.inventory.Stockroom`: MLflow holds nothing under any name."""

    def __init__(self) -> None:
        self.calls: list[str] = []

    def inventory(self, model_name: str) -> Inventory:
        return Inventory(experiment="missing", known=False, runs=(), uploads={}, versions={})

    def restore_experiment(self, model_name: str) -> None:
        self.calls.append("restore_experiment")

    def restore_run(self, run_id: str) -> None:
        self.calls.append("restore_run")

    def delete_run(self, run_id: str) -> None:
        self.calls.append("delete_run")

    def delete_upload(self, model_id: str) -> None:
        self.calls.append("delete_upload")

    def delete_version(self, model_name: str, number: int) -> None:
        self.calls.append("delete_version")


@dataclass(frozen=True)
class Case:
    """Something that writes, and what must be there before it."""

    write: Callable[[Registry], object]
    before: Callable[[Registry], object] = lambda registry: None
    promotion: str = "manual"
    aliases: Callable[[], FakeAliases] = FakeAliases


def _learned(registry: Registry) -> None:
    home = registry.settings.home
    learn(registry, home / "another", 1, name="another")


def _stage(registry: Registry) -> None:
    registry.stage_started("k", stage="train", sequence="assistant", task="t01")
    registry.stage_finished("k")


def _steal(aliases: Faulty) -> None:
    aliases.aliases[MODEL, "champion"] = 99


def _faulty() -> FakeAliases:
    return Faulty(_steal)


def _give_up(registry: Registry) -> None:
    with pytest.raises(CheckFailed, match="read back"):
        Desk(registry, ADA).promote("assistant", 2, reason=WHY)


def _moved_behind_our_back(registry: Registry) -> None:
    promote(registry, 1)
    registry.aliases().set_alias(MODEL, "champion", 99)


def _ask(registry: Registry) -> None:
    assert Desk(registry, ANN).promote("assistant", 2, reason=WHY).status == "requested"


def _waive(registry: Registry) -> None:
    Desk(registry, ANN).gate("assistant", 2)
    rule = Desk(registry, ANN).gate("assistant", 2).rules[-1].rule
    Desk(registry, ANN).waive("assistant", 2, rule, WHY, LATER)


def _account(registry: Registry) -> None:
    accounts = Accounts(registry, ADA)
    accounts.create("ada", "admin")
    accounts.create("tom", "trainer")
    accounts.issue("tom", "laptop")


def _password(registry: Registry) -> None:
    _account(registry)
    Accounts(registry, ADA).set_password("tom", PASSWORD)


def _signed_in(registry: Registry) -> None:
    _password(registry)
    assert sign_ins.with_password(registry, "tom", PASSWORD) is not None


def _rows(registry: Registry) -> None:
    _account(registry)
    RowRights(registry, ADA).allow_rows("tom", "assistant", None)
    RowRights(registry, ADA).hide_rows("assistant", "t01", WHY)


def _message(registry: Registry) -> None:
    outbox.add(registry, "us", "http://us.example/")
    Desk(registry, ANN).freeze("assistant", LATER, WHY)


def _refile(registry: Registry) -> None:
    folder = registry.settings.home / "copy"
    shutil.copytree(registry.artifact_path("assistant", 1), folder)
    store = registry._artifacts()
    refiling.refile(registry._database, registry.settings, store, "assistant", 1, folder)


CASES: Mapping[str, Case] = {
    "learning": Case(_learned),
    "cell": Case(
        lambda registry: registry.record_cell(
            measured(registry, "assistant", 1, "t02", "inherited", score=1)
        )
    ),
    "stage": Case(_stage),
    "export": Case(
        lambda registry: registry.record_export("assistant", 1, "t01", "inherited", "0" * 64)
    ),
    "bare base": Case(lambda registry: registry.base_version("assistant")),
    "gate": Case(lambda registry: Desk(registry, ADA).gate("assistant", 2)),
    "promotion": Case(
        lambda registry: Desk(registry, ADA).promote("assistant", 2, reason=WHY),
        lambda registry: promote(registry, 1),
    ),
    "nomination": Case(
        lambda registry: Desk(registry, ADA).promote("assistant", 2, reason=WHY, to="candidate")
    ),
    "promotion that is given up": Case(_give_up, aliases=_faulty),
    "request": Case(_ask, promotion="approval"),
    "approval": Case(
        lambda registry: Desk(registry, BEN).approve(1, reason=WHY), _ask, promotion="approval"
    ),
    "rejection": Case(
        lambda registry: Desk(registry, BEN).reject(1, reason=WHY), _ask, promotion="approval"
    ),
    "rollback": Case(
        lambda registry: Desk(registry, ADA).rollback("assistant", reason=WHY),
        lambda registry: promote(registry, 1, 2),
    ),
    "rollback to the base": Case(
        lambda registry: Desk(registry, ADA).rollback(
            "assistant", reason=WHY, to_version=BARE_BASE
        ),
        lambda registry: promote(registry, 1),
    ),
    "drift": Case(
        lambda registry: applying.reconcile(registry, "assistant"), _moved_behind_our_back
    ),
    "mending drift": Case(
        lambda registry: applying.restore_aliases(registry, "assistant", ADA),
        _moved_behind_our_back,
    ),
    "freeze": Case(lambda registry: Desk(registry, ADA).freeze("assistant", LATER, WHY)),
    "thaw": Case(
        lambda registry: Desk(registry, ADA).thaw("assistant", WHY),
        lambda registry: Desk(registry, ADA).freeze("assistant", LATER, WHY),
    ),
    "waiver": Case(_waive),
    "waiver in force": Case(lambda registry: Desk(registry, ADA).approve_waiver(1, WHY), _waive),
    "retirement": Case(lambda registry: Desk(registry, ADA).retire("assistant", "t01", WHY)),
    "confirmation": Case(
        lambda registry: Desk(registry, ADA).confirm(
            "assistant", 1, "t01", "inherited", "0" * 64, "gpu-1", PAST
        )
    ),
    "deletion": Case(
        lambda registry: retention.delete_version(
            registry, "assistant", 3, actor=ADA, reason="a mistake"
        )
    ),
    "filing again": Case(_refile),
    "relinking": Case(
        lambda registry: refiling.relink(
            registry._database, registry.settings, registry._artifacts(), "assistant", 1
        )
    ),
    "triggers": Case(lambda registry: triggers.make_triggers(registry, "outbox")),
    "accounts": Case(_account),
    "role": Case(lambda registry: Accounts(registry, ADA).change_role("tom", "viewer"), _account),
    "shutting out": Case(lambda registry: Accounts(registry, ADA).disable("tom"), _account),
    "letting in": Case(lambda registry: Accounts(registry, ADA).enable("tom"), _account),
    "token": Case(lambda registry: Accounts(registry, ADA).revoke(1), _account),
    "password": Case(
        lambda registry: Accounts(registry, ADA).set_password("tom", PASSWORD), _account
    ),
    "signing in": Case(
        lambda registry: sign_ins.with_password(registry, "tom", PASSWORD), _password
    ),
    "signing in by the printed token": Case(
        lambda registry: sign_ins.with_printed_token(registry, "lori_x")
    ),
    "signing in by a proxy": Case(lambda registry: sign_ins.proxied_in(registry, ADA)),
    "being seen": Case(lambda registry: sign_ins.note_seen(registry, 1), _signed_in),
    "signing out": Case(lambda registry: sign_ins.sign_out(registry, 1), _signed_in),
    "rows": Case(_rows),
    "rows revoked": Case(
        lambda registry: RowRights(registry, ADA).revoke_rows("tom", "assistant", None), _rows
    ),
    "rows shown again": Case(
        lambda registry: RowRights(registry, ADA).unhide_rows("assistant", "t01"), _rows
    ),
    "webhook": Case(
        lambda registry: Webhooks(registry, ADA).add_webhook("us", "http://us.example/")
    ),
    "webhook gone": Case(
        lambda registry: outbox.remove(registry, "us"),
        lambda registry: outbox.add(registry, "us", "http://us.example/"),
    ),
    "delivery": Case(lambda registry: outbox.deliver(registry, LATER, lambda *sent: 204), _message),
}


class Loser:
    """Loses the turn right before the n-th time it is asked for (0: never); remembers who asked for what.

    `there` is everything as it was then.
    """

    def __init__(self, registry: Registry, artifacts: HomeArtifacts, at: int) -> None:
        self.registry, self.artifacts, self.at = registry, artifacts, at
        self.asked = 0
        self.sites: list[str] = []
        self.there: object = None

    def __call__(self, session: Session, held: fence.Fence) -> None:
        self.asked += 1
        self.sites.append(_site(inspect.currentframe()))
        if self.asked == self.at:
            self.there = self.everything()
        if 0 < self.at <= self.asked:
            session.execute(
                update(ArrivalRow).where(ArrivalRow.id == held.arrival).values(lease_until=PAST)
            )
        _CHECK(session, held)

    def everything(self) -> object:
        """All rows but the arrival's own, and all that the stand-ins of MLflow were told."""
        aliases = self.registry.aliases()
        assert isinstance(aliases, FakeAliases)
        stockroom = self.registry.stockroom()
        assert isinstance(stockroom, EmptyStockroom)
        rows = {}
        with self.registry._database.reading() as session:
            for name, table in Table.metadata.tables.items():
                if name != "arrivals":
                    rows[name] = [tuple(row) for row in session.execute(select(table))]
        told = (self.artifacts.calls, aliases.calls, aliases.aliases, aliases.tags, stockroom.calls)
        return repr((rows, told))


_CHECK = fence.check


def lose(patch: pytest.MonkeyPatch, loser: Loser) -> None:
    patch.setattr(fence, "check", loser)


def _site(frame: FrameType | None) -> str:
    """`module.function` that opened the transaction, or `class.method` that was about to write."""
    while frame is not None:
        code = frame.f_code
        module = frame.f_globals.get("__name__", "")
        inside = module in {"contextlib", "registry.database", "registry.fence", __name__}
        if not inside:
            return f"{module}:{code.co_qualname}"
        frame = frame.f_back
    raise AssertionError("nobody asked")
