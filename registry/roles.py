"""Who may what: one table of roles and actions, asked before anything is decided.

Two ideas are behind the rows. Nobody who makes versions moves the champion: a trainer files, adopts,
evaluates and records gate reports, and sets at most the alias `candidate`, which serves nothing. And
what needs two persons needs two roles: a promoter asks (promotion, waiver), a reviewer answers, so that
only an admin could do both, and never for a request of his own (the desk sees to that).

A trainer may `request` that a version serve, which is no promotion: only where the sequence's policy
has a second person decide, and it changes nothing until that person does. So a worker that learns needs
no right to promote.

An emergency needs one person: a promoter rolls back and freezes, a reviewer may freeze too; to thaw is
to go on, which is for those who promote. A server that says what it loaded has an account of its own; the
role `trainer` is the least that may confirm, and cannot touch what serves.
"""

from collections.abc import Mapping
from typing import Literal, get_args

from lori_core.errors import CheckFailed
from registry.decisions import Actor, Alias, Role

Action = Literal[
    "read",
    "submit", "cancel", "hold",
    "file", "adopt", "gate", "nominate", "confirm",
    "approve", "reject", "approve-waiver",
    "request", "promote", "rollback", "waive", "retire",
    "freeze", "thaw",
    "accounts", "webhooks", "repair", "delete",
]  # fmt: skip
"""`submit` sends tasks and retries failed ones, `hold` holds and releases. `gate` records a report
(anybody may compute one). `nominate` moves the alias `candidate`, `promote` the champion; `request`
asks a second person to have it moved. `waive` asks for a waiver, `approve-waiver` puts it in force."""

ROLES: tuple[Role, ...] = get_args(Role)
ACTIONS: tuple[Action, ...] = get_args(Action)

_TRAINER: frozenset[Action] = frozenset(
    {
        *("read", "file", "adopt", "gate", "nominate", "request", "confirm"),
        *("submit", "cancel", "hold"),
    }
)

MAY: Mapping[Role, frozenset[Action]] = {
    "viewer": frozenset({"read"}),
    "trainer": _TRAINER,
    "reviewer": frozenset({"read", "gate", "approve", "reject", "approve-waiver", "freeze"}),
    "promoter": frozenset(
        {
            *("read", "gate", "nominate", "confirm"),
            *("request", "promote", "rollback", "waive", "retire", "freeze", "thaw"),
        }
    ),
    "admin": frozenset(ACTIONS),
}
"""Role -> what it may do."""


def may(actor: Actor, action: Action) -> bool:
    """Whether an actor's role has this action."""
    return action in MAY[actor.role]


def allow(actor: Actor, action: Action) -> None:
    """Return if the actor may do this.

    Raises:
        CheckFailed: `role`: names the actor, his role, and the roles that may.
    """
    if may(actor, action):
        return
    roles = [role for role in ROLES if action in MAY[role]]
    if not actor.account:
        raise CheckFailed(
            "role",
            f"{actor.name} acts without a token and may only read: to {action} set LORI_TOKEN to that"
            f" of a {' or '.join(roles)} (`lori accounts first NAME` makes the first admin)",
        )
    raise CheckFailed(
        "role", f"{actor.name} is a {actor.role}; to {action} takes {' or '.join(roles)}"
    )


def promotes_as(alias: Alias) -> Action:
    """The action that moving an alias by hand is."""
    return "nominate" if alias == "candidate" else "promote"
