import pytest

from lori_core.errors import CheckFailed
from registry.decisions import Actor
from registry.roles import ACTIONS, MAY, ROLES, allow, may, promotes_as

WHAT_SERVES = {"promote", "rollback", "approve", "approve-waiver", "waive", "retire", "thaw"}
"""Everything that can bring another version to serve, or weaken the gate before it."""


def actor(role: str) -> Actor:
    return Actor(name="ann", role=role, account=True)  # type: ignore[arg-type]


def test_a_viewer_reads_and_nothing_else() -> None:
    assert [action for action in ACTIONS if may(actor("viewer"), action)] == ["read"]


def test_everybody_reads() -> None:
    for role in ROLES:
        allow(actor(role), "read")


def test_nothing_a_trainer_may_do_changes_what_serves() -> None:
    assert {action for action in WHAT_SERVES if may(actor("trainer"), action)} == set()
    with pytest.raises(CheckFailed, match=r"^role: ann is a trainer; to promote takes promoter or"):
        allow(actor("trainer"), "promote")


@pytest.mark.parametrize(
    ("asks", "answers"),
    [("request", "approve"), ("promote", "approve"), ("waive", "approve-waiver")],
)
def test_what_needs_two_persons_needs_two_roles(asks: str, answers: str) -> None:
    both = [role for role in ROLES if {asks, answers} <= MAY[role]]
    assert both == ["admin"]


def test_accounts_and_webhooks_are_an_admins_alone() -> None:
    for action in ("accounts", "webhooks"):
        assert [role for role in ROLES if action in MAY[role]] == ["admin"]


def test_an_admin_may_everything() -> None:
    assert MAY["admin"] == set(ACTIONS)


def test_only_the_candidate_is_moved_without_promoting() -> None:
    assert promotes_as("candidate") == "nominate"
    assert promotes_as("champion") == promotes_as("previous") == "promote"
