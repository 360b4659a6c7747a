"""Where decisions are made and read: in the registry of this home, or in one that a server keeps.

`LORI_REGISTRY_URL` decides: an http address is a server's API, asked with `LORI_TOKEN`; anything else
is a store of our own (`registry.settings`). Both sides have the same methods, held to it by types.
"""

import os
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Protocol

from lori_core.config import Read
from lori_core.errors import BadInput
from registry.accounts import (
    TOKEN_VARIABLE,
    Accounts,
    Issued,
    Token,
    TokenRefused,
    accounts_exist,
    actor_of,
    owner,
)
from registry.arrival_records import (
    Arrival,
    ArrivalState,
    HeldSequence,
    Source,
    Submission,
)
from registry.decisions import (
    Account,
    Actor,
    Alias,
    ChainCheck,
    Confirmation,
    Expect,
    Freeze,
    GateReport,
    LogEntry,
    Promotion,
    Role,
    ServedThen,
    Waiver,
)
from registry.home import find_home
from registry.outbox import Delivery, NewWebhook, Webhook
from registry.records import (
    Cell,
    CertificateRecord,
    FiledVersion,
    Json,
    MatrixCells,
    SequenceRecord,
    StageRun,
    TaskRecord,
)
from registry.roles import Action, allow
from registry.row_rights import HiddenRows, RowRight, RowRights
from registry.settings import registry_server
from registry.store import Registry, open_registry, registry_exists
from registry.webhooks import Webhooks


class Decisions(Protocol):
    """What `registry.desk.Desk` decides and answers, wherever it is."""

    def gate(self, sequence: str, version: int | None) -> GateReport:
        """Judge a version, and record the report if the role may."""

    def promote(
        self,
        sequence: str,
        version: int | None,
        *,
        reason: str,
        to: Alias = "champion",
        expect: Expect = None,
    ) -> Promotion:
        """Ask for a version to serve."""

    def approve(self, promotion_id: int, *, reason: str) -> Promotion:
        """Approve another person's request."""

    def reject(self, promotion_id: int, *, reason: str) -> Promotion:
        """Turn a request down."""

    def rollback(
        self,
        sequence: str,
        *,
        reason: str,
        to_version: int | None = None,
        expect: Expect = None,
    ) -> Promotion:
        """Back to an earlier champion or the bare base."""

    def history(
        self, sequence: str, at: datetime | None = None, *, last: int | None = None
    ) -> tuple[Promotion, ...]:
        """Promotions and rollbacks, as they stood at a time."""

    def served(self, sequence: str, alias: Alias, at: datetime) -> ServedThen:
        """What an alias pointed at, at a time."""

    def pending(self, sequence: str | None) -> tuple[Promotion, ...]:
        """Requests that wait for approval."""

    def check_history(self, sequence: str) -> ChainCheck:
        """Whether the log is what it was."""

    def log(self, sequence: str) -> tuple[LogEntry, ...]:
        """Every entry of the log."""

    def champion(self, sequence: str, alias: Alias = "champion") -> int | None:
        """The version an alias points at."""

    def stale(self, sequence: str) -> Mapping[int, str]:
        """Versions that stand on rolled back ones."""

    def freeze(self, sequence: str, until: datetime, reason: str) -> Freeze:
        """Let nothing be promoted for a time."""

    def thaw(self, sequence: str, reason: str) -> None:
        """End a freeze."""

    def frozen(self, sequence: str) -> Freeze | None:
        """The freeze in force, or None."""

    def waive(
        self, sequence: str, version: int, rule: str, reason: str, expires: datetime
    ) -> Waiver:
        """Ask for one rule to be set aside."""

    def approve_waiver(self, waiver_id: int, reason: str) -> Waiver:
        """Put another person's waiver in force."""

    def waivers(self, sequence: str) -> tuple[Waiver, ...]:
        """Every waiver."""

    def retire(self, sequence: str, task: str, reason: str) -> None:
        """Take a task out of service."""

    def retired(self, sequence: str) -> Mapping[str, datetime]:
        """Tasks out of service."""

    def confirm(
        self,
        sequence: str,
        version: int,
        task: str,
        read: Read,
        digest: str,
        host: str,
        loaded_at: datetime,
    ) -> Confirmation:
        """Say what a server loaded."""

    def confirmations(self, sequence: str) -> tuple[Confirmation, ...]:
        """What servers said they loaded."""


class Readers(Protocol):
    """What `registry.store.Registry` can be asked from afar."""

    def sequences(self) -> tuple[str, ...]:
        """Names of all sequences."""

    def sequence(self, name: str) -> SequenceRecord:
        """One sequence."""

    def tasks(self, sequence: str) -> tuple[TaskRecord, ...]:
        """The declared tasks."""

    def stages(self, sequence: str) -> tuple[StageRun, ...]:
        """Every attempt at every stage."""

    def cells(self, sequence: str) -> tuple[Cell, ...]:
        """The current cells."""

    def matrix_cells(self, sequence: str, read: Read) -> MatrixCells:
        """R under one read mode."""

    def versions(self, sequence: str) -> tuple[FiledVersion, ...]:
        """All versions."""

    def version(self, sequence: str, k: int) -> FiledVersion:
        """One version."""

    def certificate(self, sequence: str, k: int) -> CertificateRecord:
        """The certificate of a version."""

    def exported(self, sequence: str, version: int, task: str, read: Read) -> tuple[str, ...]:
        """The digests of what was exported of a version's task."""


class AccountBook(Protocol):
    """What `registry.accounts.Accounts` does, wherever it is."""

    def accounts(self) -> tuple[Account, ...]:
        """Every account."""

    def create(self, name: str, role: Role) -> Account:
        """Make an account."""

    def change_role(self, name: str, role: Role) -> Account:
        """Give an account another role."""

    def set_password(self, name: str, password: str, current: str | None = None) -> Account:
        """Give an account a password."""

    def disable(self, name: str) -> Account:
        """Shut an account out."""

    def enable(self, name: str) -> Account:
        """Let an account in again."""

    def tokens(self, name: str) -> tuple[Token, ...]:
        """Every token of an account."""

    def issue(self, name: str, label: str, expires: datetime | None = None) -> Issued:
        """Make a token."""

    def revoke(self, token: int) -> Token:
        """End a token."""


class RowBook(Protocol):
    """What `registry.row_rights.RowRights` does, wherever it is."""

    def row_rights(self) -> tuple[RowRight, ...]:
        """Who may see which rows."""

    def hidden_rows(self) -> tuple[HiddenRows, ...]:
        """Which rows nobody sees."""

    def allow_rows(self, account: str, sequence: str, task: str | None) -> RowRight:
        """Let somebody see rows."""

    def revoke_rows(self, account: str, sequence: str, task: str | None) -> None:
        """Take a right back."""

    def hide_rows(self, sequence: str, task: str, reason: str) -> HiddenRows:
        """Let nobody see the rows of a task."""

    def unhide_rows(self, sequence: str, task: str) -> None:
        """Let those see them again who have the right."""


class WebhookBook(Protocol):
    """What `registry.webhooks.Webhooks` does, wherever it is."""

    def webhooks(self) -> tuple[Webhook, ...]:
        """Every webhook."""

    def add_webhook(
        self, name: str, url: str, *, kinds: Sequence[str] = (), secret: str | None = None
    ) -> NewWebhook:
        """Tell a URL of decisions."""

    def remove_webhook(self, name: str) -> None:
        """Tell a webhook nothing more."""

    def undelivered(self) -> tuple[Delivery, ...]:
        """What waits to be delivered."""


class QueueBook(Protocol):
    """What `registry.queueing.Queue` does, wherever it is."""

    def submit(
        self,
        document: Json,
        *,
        source: Source,
        folder: str | None,
        priority: int = 0,
        again: bool = False,
    ) -> Submission:
        """Send a document; whoever dispatches prepares it."""

    def submission(self, submission_id: int) -> Submission:
        """One submission and what became of it."""

    def submissions(self, last: int) -> tuple[Submission, ...]:
        """The newest submissions."""

    def arrival(self, arrival_id: int) -> Arrival:
        """One arrival."""

    def arrivals(
        self,
        sequence: str | None = None,
        *,
        states: Collection[ArrivalState] | None = None,
        last: int | None = None,
    ) -> tuple[Arrival, ...]:
        """Arrivals in the order they came."""

    def blocked(self) -> Mapping[str, int]:
        """Sequence -> the failed arrival that blocks it."""

    def cancel(self, arrival_id: int) -> Arrival:
        """Take an arrival out of the queue, or ask a running one to end."""

    def retry(self, arrival_id: int) -> Arrival:
        """Let a failed or cancelled arrival wait for its turn again."""

    def hold(self, arrival_id: int) -> Arrival:
        """Pass an arrival over until it is released."""

    def release(self, arrival_id: int) -> Arrival:
        """Let a held arrival have its turn again."""

    def hold_sequence(self, sequence: str, reason: str) -> HeldSequence:
        """Let a sequence give nothing out until it is released."""

    def release_sequence(self, sequence: str) -> None:
        """Let a held sequence give out again."""

    def held_sequences(self) -> tuple[HeldSequence, ...]:
        """Sequences that give nothing out."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Opened:
    """One registry, ready to be asked."""

    place: str
    """The home folder or the server's address, fit to be shown."""

    desk: Decisions

    readers: Readers

    accounts: AccountBook

    rows: RowBook

    webhooks: WebhookBook

    queue: QueueBook

    registry: Registry | None
    """The registry itself where it is here; None at a server."""

    actor: Actor | None
    """Who acts, where the registry is here; a server knows by the token."""


@contextmanager
def open_desk(home: Path | None = None, *, make: bool = False) -> Iterator[Opened]:
    """Open the desk that the environment names.

    Here acts who `acting` says. At a server, the account of `LORI_TOKEN` acts.

    Args:
        home: the home folder of a local registry; None finds it.
        make: make it where it is not there yet; else it must be.

    Raises:
        BadInput: no such home, a URL of a kind we cannot use, a token that is refused.
    """
    if server := registry_server():
        from registry.remote import RemoteDesk  # httpx: a tenth of a second
        from registry.remote_queue import RemoteQueue

        token = os.environ.get(TOKEN_VARIABLE) or None
        with RemoteDesk(server, token) as remote, RemoteQueue(server, token) as queue:
            yield Opened(
                place=remote.place,
                desk=remote,
                readers=remote,
                accounts=remote,
                rows=remote,
                webhooks=remote,
                queue=queue,
                registry=None,
                actor=None,
            )
        return
    place = home or find_home()
    with open_registry(place if make else _existing(place)) as registry:
        yield opened(registry, acting(registry))


def acting(registry: Registry) -> Actor:
    """Who acts here: the account of `LORI_TOKEN` where that is set, else the OS user.

    The OS user is owner where the store is the home's own file and there is no account yet. Anywhere
    else he reads: who can open the store could that anyhow, and every other role takes a token.

    Raises:
        BadInput: the token is refused.
    """
    if token := os.environ.get(TOKEN_VARIABLE):
        return actor_of(registry, token)
    if registry.settings.is_own and not accounts_exist(registry):
        return owner()
    return replace(owner(), role="viewer")


def refuse_unless_allowed(home: Path, action: Action) -> None:
    """Return if who acts at a home may do this; a home that is not there yet is his own.

    Raises:
        BadInput: the token is refused.
        CheckFailed: the role may not, or there is no token.
    """
    if not (home.is_dir() and registry_exists(home)):
        if os.environ.get(TOKEN_VARIABLE):
            raise TokenRefused("there is no account in a registry that is not there yet")
        return
    with open_registry(home) as registry:
        allow(acting(registry), action)


def opened(registry: Registry, actor: Actor) -> Opened:
    """The desk of an open registry, for one actor."""
    from registry.desk import Desk
    from registry.queueing import Queue

    return Opened(
        place=str(registry.settings.home),
        desk=Desk(registry, actor),
        readers=registry,
        accounts=Accounts(registry, actor),
        rows=RowRights(registry, actor),
        webhooks=Webhooks(registry, actor),
        queue=Queue(registry, actor),
        registry=registry,
        actor=actor,
    )


def _existing(home: Path) -> Path:
    if home.is_dir() and registry_exists(home):
        return home
    found = "nothing is recorded in it" if home.is_dir() else "it does not exist"
    raise BadInput(
        f"home {home}: {found}",
        "the folder something was learned in",
        "Set LORI_HOME, change the folder, or learn with `lori run FILE`.",
    )
