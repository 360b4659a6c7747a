"""A version whose bits are not those that were certified serves by no path."""

from datetime import timedelta

import pytest
from decision_cases import (
    ANN,
    BEN,
    MODEL,
    TOM,
    WHY,
    break_a_file,
    break_the_certificate_file,
    break_the_certificate_row,
    promote,
)
from fake_aliases import FakeAliases

from lori_core.errors import BadInput, CheckFailed
from registry import applying, ledger, verified
from registry.clock import now
from registry.desk import Desk
from registry.store import Registry

BREAKS = [break_a_file, break_the_certificate_file, break_the_certificate_row]


@pytest.mark.parametrize("broken", BREAKS)
@pytest.mark.parametrize("which", [1, 2], ids=["an earlier one", "its own"])
def test_a_broken_version_serves_by_no_path(
    asking: Registry, aliases: FakeAliases, broken: object, which: int
) -> None:
    """Promote, approve and a waiver; rollback and reconcile are below."""
    asked = Desk(asking, ANN).promote("assistant", 2, reason=WHY)
    broken(asking, which)  # type: ignore[operator]
    with pytest.raises(CheckFailed, match="integrity"):
        Desk(asking, BEN).approve(asked.id, reason="fine")
    with pytest.raises(CheckFailed, match="integrity"):
        Desk(asking, ANN).promote("assistant", 2, reason=WHY)
    with pytest.raises(CheckFailed, match="integrity"):
        Desk(asking, TOM).promote("assistant", 2, reason=WHY, to="candidate")
    for rule in ("integrity", "certificate"):
        with pytest.raises(BadInput, match="may be waived"):
            Desk(asking, ANN).waive("assistant", 2, rule, WHY, now() + timedelta(days=1))
    assert aliases.aliases == {}


def test_a_waiver_slipped_into_the_log_lets_no_broken_version_pass(
    four: Registry, aliases: FakeAliases
) -> None:
    break_a_file(four, 2)
    asked = {"version": 2, "rule": "integrity", "reason": "x", "expires": "2999-01-01T00:00:00Z"}
    applying.record(four, "assistant", "waiver-requested", "ann", asked)
    (waiver,) = Desk(four, ANN).waivers("assistant")
    applying.record(four, "assistant", "waiver-approved", "ben", {"waiver": waiver.id})
    ledger.anchor(four, "assistant")
    with pytest.raises(CheckFailed, match="integrity"):
        Desk(four, ANN).promote("assistant", 2, reason=WHY)
    assert aliases.aliases == {}


@pytest.mark.parametrize("broken", BREAKS)
def test_back_never_goes_to_a_broken_version(
    four: Registry, aliases: FakeAliases, broken: object
) -> None:
    promote(four, 1, 2, 3)
    broken(four, 2)  # type: ignore[operator]
    for target in (None, 2):
        with pytest.raises(CheckFailed, match="integrity"):
            Desk(four, ANN).rollback("assistant", reason="broke", to_version=target)
    assert aliases.aliases[MODEL, "champion"] == 3
    assert Desk(four, ANN).rollback("assistant", reason="broke", to_version=1).status == "applied"


def test_a_version_whose_probes_were_found_wrong_serves_by_no_path_until_they_are_right(
    asking: Registry, aliases: FakeAliases
) -> None:
    asked = Desk(asking, ANN).promote("assistant", 1, reason=WHY)
    verified.remember(asking, "assistant", 1, ok=False)
    with pytest.raises(CheckFailed, match=r"integrity: .*`lori verify` found it not"):
        Desk(asking, BEN).approve(asked.id, reason="fine")
    with pytest.raises(CheckFailed, match="integrity"):
        Desk(asking, ANN).promote("assistant", 1, reason=WHY)
    assert aliases.aliases == {}
    verified.remember(asking, "assistant", 1, ok=True)
    again = Desk(asking, ANN).promote("assistant", 1, reason=WHY)
    assert Desk(asking, BEN).approve(again.id, reason="fine").status == "applied"


def test_back_never_goes_to_a_version_whose_probes_were_found_wrong(four: Registry) -> None:
    promote(four, 1, 2)
    verified.remember(four, "assistant", 1, ok=False)
    with pytest.raises(CheckFailed, match="integrity"):
        Desk(four, ANN).rollback("assistant", reason="broke")
