"""How a page tells a refusal of the gate."""

from dashboard.pages.promotions import Refused


def test_a_refusal_is_told_rule_by_rule_and_no_task_is_taken_for_a_rule() -> None:
    line = (
        "gate: assistant/2 is refused: test-set: math: other rows; sql: other rows;"
        " forgetting:math: 3 points, at most 1; cells: 2 are missing; so nothing is compared"
    )
    assert Refused(form="promote", line=line).rules == (
        ("test-set", "math: other rows; sql: other rows"),
        ("forgetting:math", "3 points, at most 1"),
        ("cells", "2 are missing; so nothing is compared"),
    )


def test_another_refusal_has_no_rules() -> None:
    assert Refused(form="promote", line="freeze: assistant is frozen").rules == ()
