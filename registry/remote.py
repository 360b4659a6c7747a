"""A registry on another machine, over its API: the desk, the readers and the accounts as they are here.

The token says who acts; roles are checked over there.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Literal

from lori_core.config import Read
from lori_core.names import check_name
from registry.accounts import Issued, Token
from registry.api_client import Remote
from registry.decisions import (
    Account,
    Alias,
    ChainCheck,
    Confirmation,
    Freeze,
    GateReport,
    LogEntry,
    Promotion,
    Role,
    ServedThen,
    Waiver,
)
from registry.outbox import Delivery, NewWebhook, Webhook
from registry.records import (
    Cell,
    CertificateRecord,
    FiledVersion,
    MatrixCells,
    SequenceRecord,
    StageRun,
    TaskRecord,
)
from registry.row_rights import HiddenRows, RowRight


class RemoteDesk(Remote):
    """Implements `registry.desks.Decisions` and `registry.desks.Readers` by asking a server."""

    # Decisions, as `registry.desk.Desk`

    def gate(self, sequence: str, version: int | None) -> GateReport:
        """Judge a version (None: the newest), and record the report if the role may."""
        return self._api.ask(GateReport, "POST", _of(sequence, "gate"), body={"version": version})

    def promote(
        self,
        sequence: str,
        version: int | None,
        *,
        reason: str,
        to: Alias = "champion",
        expect: int | Literal["none"] | None = None,
    ) -> Promotion:
        """Ask for a version to serve; applied at once unless a second person must approve."""
        return self._api.ask(
            Promotion,
            "POST",
            _of(sequence, "promotions"),
            body={"version": version, "reason": reason, "to": to, "expect": expect},
        )

    def approve(self, promotion_id: int, *, reason: str) -> Promotion:
        """Approve another person's request, which applies it."""
        path = f"api/promotions/{promotion_id}/approve"
        return self._api.ask(Promotion, "POST", path, body={"reason": reason})

    def reject(self, promotion_id: int, *, reason: str) -> Promotion:
        """Turn a request down."""
        path = f"api/promotions/{promotion_id}/reject"
        return self._api.ask(Promotion, "POST", path, body={"reason": reason})

    def rollback(
        self,
        sequence: str,
        *,
        reason: str,
        to_version: int | None = None,
        expect: int | Literal["none"] | None = None,
    ) -> Promotion:
        """Back to the previous champion (None), a version, or the bare base (0)."""
        return self._api.ask(
            Promotion,
            "POST",
            _of(sequence, "rollback"),
            body={"reason": reason, "to_version": to_version, "expect": expect},
        )

    def history(
        self, sequence: str, at: datetime | None = None, *, last: int | None = None
    ) -> tuple[Promotion, ...]:
        """Promotions and rollbacks as they stood at a time, oldest first; only the `last` so many."""
        params = {"at": None if at is None else at.isoformat(), "last": last}
        return self._api.ask(
            tuple[Promotion, ...], "GET", _of(sequence, "promotions"), params=params
        )

    def served(self, sequence: str, alias: Alias, at: datetime) -> ServedThen:
        """What an alias pointed at, at a time."""
        params = {"alias": alias, "at": at.isoformat()}
        return self._api.ask(ServedThen, "GET", _of(sequence, "served"), params=params)

    def pending(self, sequence: str | None) -> tuple[Promotion, ...]:
        """Requests that wait for approval, of one sequence or of all."""
        if sequence is not None:
            check_name("sequence", sequence)
        return self._api.ask(
            tuple[Promotion, ...], "GET", "api/promotions/pending", params={"sequence": sequence}
        )

    def check_history(self, sequence: str) -> ChainCheck:
        """Whether the log is what it was."""
        return self._api.ask(ChainCheck, "GET", _of(sequence, "log/check"))

    def log(self, sequence: str) -> tuple[LogEntry, ...]:
        """Every entry of the log."""
        return self._api.ask(tuple[LogEntry, ...], "GET", _of(sequence, "log"))

    def champion(self, sequence: str, alias: Alias = "champion") -> int | None:
        """The version an alias points at, by the registry's own rows."""
        found = self._api.ask(dict[str, int | None], "GET", _of(sequence, f"aliases/{alias}"))
        return found.get("version")

    def stale(self, sequence: str) -> Mapping[int, str]:
        """Versions that stand on rolled back ones, and why."""
        return self._api.ask(dict[int, str], "GET", _of(sequence, "stale"))

    def freeze(self, sequence: str, until: datetime, reason: str) -> Freeze:
        """Let nothing of a sequence be promoted for a time."""
        body = {"until": until.isoformat(), "reason": reason}
        return self._api.ask(Freeze, "POST", _of(sequence, "freeze"), body=body)

    def thaw(self, sequence: str, reason: str) -> None:
        """End a freeze."""
        self._api.ask(dict[str, str], "POST", _of(sequence, "thaw"), body={"reason": reason})

    def frozen(self, sequence: str) -> Freeze | None:
        """The freeze in force, or None."""
        path = _of(sequence, "freeze")
        return self._api.ask(dict[str, Freeze | None], "GET", path).get("frozen")

    def waive(
        self, sequence: str, version: int, rule: str, reason: str, expires: datetime
    ) -> Waiver:
        """Ask for one rule of one version to be set aside for a time."""
        body = {
            "version": version,
            "rule": rule,
            "reason": reason,
            "expires": expires.isoformat(),
        }
        return self._api.ask(Waiver, "POST", _of(sequence, "waivers"), body=body)

    def approve_waiver(self, waiver_id: int, reason: str) -> Waiver:
        """Put another person's waiver in force."""
        path = f"api/waivers/{waiver_id}/approve"
        return self._api.ask(Waiver, "POST", path, body={"reason": reason})

    def waivers(self, sequence: str) -> tuple[Waiver, ...]:
        """Every waiver of a sequence."""
        return self._api.ask(tuple[Waiver, ...], "GET", _of(sequence, "waivers"))

    def retire(self, sequence: str, task: str, reason: str) -> None:
        """Take a task out of service."""
        body = {"task": task, "reason": reason}
        self._api.ask(dict[str, str], "POST", _of(sequence, "retired"), body=body)

    def retired(self, sequence: str) -> Mapping[str, datetime]:
        """Tasks out of service, and since when."""
        return self._api.ask(dict[str, datetime], "GET", _of(sequence, "retired"))

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
        body = {
            "version": version,
            "task": task,
            "read": read,
            "digest": digest,
            "host": host,
            "loaded_at": loaded_at.isoformat(),
        }
        return self._api.ask(Confirmation, "POST", _of(sequence, "confirmations"), body=body)

    def confirmations(self, sequence: str) -> tuple[Confirmation, ...]:
        """What servers said they loaded."""
        return self._api.ask(tuple[Confirmation, ...], "GET", _of(sequence, "confirmations"))

    # Readers, as `registry.store.Registry`

    def sequences(self) -> tuple[str, ...]:
        """Names of all sequences."""
        return self._api.ask(tuple[str, ...], "GET", "api/sequences")

    def sequence(self, name: str) -> SequenceRecord:
        """One sequence."""
        return self._api.ask(SequenceRecord, "GET", _of(name, ""))

    def tasks(self, sequence: str) -> tuple[TaskRecord, ...]:
        """The declared tasks in order."""
        return self._api.ask(tuple[TaskRecord, ...], "GET", _of(sequence, "tasks"))

    def stages(self, sequence: str) -> tuple[StageRun, ...]:
        """Every attempt at every stage, in the order they began."""
        return self._api.ask(tuple[StageRun, ...], "GET", _of(sequence, "stages"))

    def cells(self, sequence: str) -> tuple[Cell, ...]:
        """The current cell of every place of R and of the guards."""
        return self._api.ask(tuple[Cell, ...], "GET", _of(sequence, "cells"))

    def matrix_cells(self, sequence: str, read: Read) -> MatrixCells:
        """R under one read mode."""
        path = _of(sequence, "matrix/cells")
        return self._api.ask(MatrixCells, "GET", path, params={"read": read})

    def versions(self, sequence: str) -> tuple[FiledVersion, ...]:
        """All versions in order, half-filed ones too."""
        return self._api.ask(tuple[FiledVersion, ...], "GET", _of(sequence, "versions"))

    def version(self, sequence: str, k: int) -> FiledVersion:
        """One version."""
        return self._api.ask(FiledVersion, "GET", _of(sequence, f"versions/{k}"))

    def certificate(self, sequence: str, k: int) -> CertificateRecord:
        """The certificate of version k."""
        path = _of(sequence, f"versions/{k}/certificate")
        return self._api.ask(CertificateRecord, "GET", path)

    def exported(self, sequence: str, version: int, task: str, read: Read) -> tuple[str, ...]:
        """The digests of what was exported of a version's task."""
        path = _of(sequence, f"versions/{version}/exports")
        params = {"task": task, "read": read}
        return self._api.ask(tuple[str, ...], "GET", path, params=params)

    # Accounts, as `registry.accounts.Accounts`

    def accounts(self) -> tuple[Account, ...]:
        """Every account."""
        return self._api.ask(tuple[Account, ...], "GET", "api/accounts")

    def create(self, name: str, role: Role) -> Account:
        """Make an account."""
        return self._api.ask(Account, "POST", "api/accounts", body={"name": name, "role": role})

    def change_role(self, name: str, role: Role) -> Account:
        """Give an account another role."""
        return self._api.ask(Account, "PUT", _account(name, "role"), body={"role": role})

    def set_password(self, name: str, password: str, current: str | None = None) -> Account:
        """Give an account a password to sign in at the pages with."""
        body = {"password": password, "current": current}
        return self._api.ask(Account, "PUT", _account(name, "password"), body=body)

    def disable(self, name: str) -> Account:
        """Shut an account out."""
        return self._api.ask(Account, "POST", _account(name, "disable"))

    def enable(self, name: str) -> Account:
        """Let an account in again."""
        return self._api.ask(Account, "POST", _account(name, "enable"))

    def tokens(self, name: str) -> tuple[Token, ...]:
        """Every token of an account."""
        return self._api.ask(tuple[Token, ...], "GET", _account(name, "tokens"))

    def issue(self, name: str, label: str, expires: datetime | None = None) -> Issued:
        """Make a token for an account; its secret is shown once."""
        body = {"label": label, "expires": None if expires is None else expires.isoformat()}
        return self._api.ask(Issued, "POST", _account(name, "tokens"), body=body)

    def revoke(self, token: int) -> Token:
        """End a token."""
        return self._api.ask(Token, "DELETE", f"api/tokens/{token}")

    # Rows, as `registry.row_rights.RowRights`

    def row_rights(self) -> tuple[RowRight, ...]:
        """Who may see which rows."""
        return self._api.ask(tuple[RowRight, ...], "GET", "api/rows/rights")

    def hidden_rows(self) -> tuple[HiddenRows, ...]:
        """Which rows nobody sees."""
        return self._api.ask(tuple[HiddenRows, ...], "GET", "api/rows/hidden")

    def allow_rows(self, account: str, sequence: str, task: str | None) -> RowRight:
        """Let somebody see the rows of a task (None: of all of the sequence)."""
        body = {"account": account, "sequence": sequence, "task": task}
        return self._api.ask(RowRight, "POST", "api/rows/allow", body=body)

    def revoke_rows(self, account: str, sequence: str, task: str | None) -> None:
        """Take a right back, as it was given."""
        body = {"account": account, "sequence": sequence, "task": task}
        self._api.ask(dict[str, str], "POST", "api/rows/revoke", body=body)

    def hide_rows(self, sequence: str, task: str, reason: str) -> HiddenRows:
        """Let nobody see the rows of a task, whatever his right."""
        body = {"sequence": sequence, "task": task, "reason": reason}
        return self._api.ask(HiddenRows, "POST", "api/rows/hide", body=body)

    def unhide_rows(self, sequence: str, task: str) -> None:
        """Let those see the rows of a task again who have the right."""
        body = {"sequence": sequence, "task": task}
        self._api.ask(dict[str, str], "POST", "api/rows/unhide", body=body)

    # Webhooks, as `registry.webhooks.Webhooks`

    def webhooks(self) -> tuple[Webhook, ...]:
        """Every webhook that is told."""
        return self._api.ask(tuple[Webhook, ...], "GET", "api/webhooks")

    def add_webhook(
        self, name: str, url: str, *, kinds: Sequence[str] = (), secret: str | None = None
    ) -> NewWebhook:
        """Tell a URL of decisions from now on."""
        body = {"name": name, "url": url, "kinds": list(kinds), "secret": secret}
        return self._api.ask(NewWebhook, "POST", "api/webhooks", body=body)

    def remove_webhook(self, name: str) -> None:
        """Tell a webhook nothing more."""
        path = f"api/webhooks/{check_name('webhook', name)}"
        self._api.ask(dict[str, str], "DELETE", path)

    def undelivered(self) -> tuple[Delivery, ...]:
        """What waits to be delivered."""
        return self._api.ask(tuple[Delivery, ...], "GET", "api/webhooks/undelivered")


def _of(sequence: str, rest: str) -> str:
    path = f"api/sequences/{check_name('sequence', sequence)}"
    return f"{path}/{rest}" if rest else path


def _account(name: str, rest: str) -> str:
    return f"api/accounts/{check_name('account', name)}/{rest}"
