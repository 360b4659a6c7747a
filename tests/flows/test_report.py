import json
from dataclasses import replace

import pytest

from dashboard.figures import matrix_json, matrix_terms, score_matrix
from flows.decided import promotions_table
from flows.progress import Narrator
from flows.report import cell_text, print_table, summary_lines
from lori_core.forgetting import ScoreMatrix
from registry.clock import now
from registry.decisions import Promotion
from registry.records import Cell, MatrixCells, MatrixRow


def cell(value: float, version: int = 1, task: str = "a") -> Cell:
    return Cell(
        key="k", sequence="s", version=version, task=task, read="inherited", value=value, n=10,
        low=value / 2, high=min(1.0, value * 1.5), metric="exact_match", metric_version="1",
        base_digest="b", effective_digest=None, test_digest="t",
    )  # fmt: skip


CELLS = MatrixCells(
    sequence="s",
    read="inherited",
    tasks=("a", "b"),
    rows=(
        MatrixRow(version=0, task=None, cells=(cell(0.1), cell(0.2))),
        MatrixRow(version=1, task="a", cells=(cell(0.8), None)),
        MatrixRow(version=2, task="b", cells=(cell(0.6), cell(0.9))),
    ),
)


def test_the_matrix_has_the_promised_shape_and_fractions() -> None:
    found = json.loads(json.dumps(matrix_json(CELLS)))
    assert found["rows"][0] == {
        "version": 0,
        "task": None,
        "cells": [
            {"value": 0.1, "n": 10, "low": 0.05, "high": pytest.approx(0.15), "kind": "base"},
            {"value": 0.2, "n": 10, "low": 0.1, "high": pytest.approx(0.3), "kind": "base"},
        ],
    }
    assert found["rows"][1]["cells"][1] is None
    assert found["summary"]["average_accuracy"] == pytest.approx(0.75)
    assert found["summary"]["backward_transfer"] == pytest.approx(-0.2)
    assert found["summary"]["forgetting"] == pytest.approx(0.2)


def test_the_figures_about_earlier_tasks_say_how_many_of_their_terms_are_known_and_how() -> None:
    found = json.loads(json.dumps(matrix_json(CELLS)))
    counts = {"proved": 0, "same_bits": 0, "measured": 1, "missing": 0, "incomparable": 0}
    assert found["terms"] == {"backward_transfer": counts, "forgetting": counts}
    assert [cell["kind"] for cell in found["rows"][2]["cells"]] == ["measured", "own"]
    lines = summary_lines(found["summary"], matrix_terms(CELLS))
    told = next(line for line in lines if line.startswith("forgetting"))
    assert told.endswith("+20.00  measured (0 of 1 earlier task proved, 1 measured)")


@pytest.mark.parametrize(
    ("covered", "word"),
    [((2,), "proved (1 of 1 earlier task proved, the task id given)"), ((), "same bits (0 of 1")],
)
def test_only_a_certificate_lets_the_matrix_call_a_zero_proved(
    covered: tuple[int, ...], word: str
) -> None:
    same = replace(cell(0.8), effective_digest="one")
    rows = (*CELLS.rows[:1], *(replace(row, cells=(same, row.cells[1])) for row in CELLS.rows[1:]))
    cells = replace(CELLS, rows=rows, covered=covered)
    lines = summary_lines(score_matrix(cells).summary(), matrix_terms(cells))
    for name in ("forgetting", "backward transfer"):
        assert f"+0.00  {word}" in next(line for line in lines if line.startswith(name))
    last = json.loads(json.dumps(matrix_json(cells)))["rows"][2]["cells"][0]
    assert last["kind"] == ("proved" if covered else "same_bits")
    assert "0.00" not in lines[0]


def test_what_is_undefined_is_null_for_programs_and_a_word_for_people() -> None:
    figures = ScoreMatrix(("a",), ((0.1,), (0.9,))).summary()
    assert figures["forgetting"] is None
    assert "undefined" in summary_lines(figures)[4]


def test_a_cell_is_shown_with_its_interval_and_its_rows() -> None:
    assert cell_text(cell(0.5)) == "50.0 [25.0, 75.0] n=10"
    assert cell_text(None) == "–"


STRANGE = ["closes [/ticket 12]", "see [bold]x[/bold]", "fixes [#123] :smile:", "[link=file:///x]y"]


@pytest.mark.parametrize("reason", STRANGE)
def test_a_strangers_brackets_and_colons_are_shown_as_they_are(
    reason: str, capsys: pytest.CaptureFixture[str]
) -> None:
    made = Promotion(
        id=1, sequence="s", kind="promote", alias="champion", from_version=None, to_version=1,
        status="applied", requested_by="a", approved_by=None, reason=reason, requested_at=now(),
        applied_at=now(), report_id=None, report_sha256=None,
    )  # fmt: skip
    print_table(promotions_table([made]))
    shown = [line.split("│")[-2].strip() for line in capsys.readouterr().out.splitlines()[3:-1]]
    assert "".join(shown).replace(" ", "") == reason.replace(" ", "")


@pytest.mark.parametrize("text", STRANGE)
def test_progress_says_what_it_is_told(text: str, capsys: pytest.CaptureFixture[str]) -> None:
    Narrator().say(text)
    assert capsys.readouterr().err == f"{text}\n"
