import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from click.testing import CliRunner

from flows.cli import COMMANDS, lori
from tests.flows.conftest import Lab

HEAVY = ("torch", "transformers", "prefect", "mlflow", "sqlalchemy")


def test_help_answers_in_under_half_a_second() -> None:
    times = []
    for _ in range(3):
        began = time.perf_counter()
        answer = subprocess.run(
            [sys.executable, "-m", "flows.cli", "--help"], capture_output=True, check=True
        )
        times.append(time.perf_counter() - began)
    assert b"run" in answer.stdout
    assert min(times) < 0.5


def test_the_command_line_imports_nothing_heavy() -> None:
    code = f"import flows.cli, sys; sys.exit(any(name in sys.modules for name in {HEAVY}))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize("command", [command.name for command in COMMANDS])
def test_every_command_has_help(command: str) -> None:
    answer = CliRunner().invoke(lori, [command, "--help"])
    assert answer.exit_code == 0
    assert len(answer.stdout.splitlines()[2].strip()) > 20


def test_the_commands_of_the_design_are_there() -> None:
    asked = (
        "init check demo run status matrix evaluate versions verify export predict gate promote"
        " approve reject rollback history pending freeze thaw waive retire doctor dashboard"
        " accounts webhooks"
    )
    assert set(asked.split()) <= {command.name for command in COMMANDS}


def test_help_names_every_command_once_under_a_heading() -> None:
    lines = CliRunner().invoke(lori, ["--help"]).stdout.splitlines()
    named = [line.split()[0] for line in lines[lines.index("Learn:") :] if line.startswith("  ")]
    assert [each for each in named if each in {c.name for c in COMMANDS}] == [
        command.name for command in COMMANDS
    ]


@pytest.mark.parametrize(
    "command",
    [
        *("check", "status", "matrix", "evaluate", "versions", "verify", "export", "predict"),
        *("gate", "history", "pending", "doctor"),
    ],
)
def test_every_reading_command_takes_json(command: str) -> None:
    assert "--json" in CliRunner().invoke(lori, [command, "--help"]).stdout


@pytest.mark.parametrize("command", ["submit", "run", "check"])
def test_an_empty_path_is_said_to_be_empty(command: str) -> None:
    """As an unset variable of a shell leaves it; `Path("")` would be this folder."""
    answer = CliRunner().invoke(lori, [command, ""])
    assert answer.exit_code == 2
    assert answer.stderr.startswith("Invalid value for '")
    assert ": the path is empty. See `" in answer.stderr


@pytest.mark.parametrize("command", ["up", "worker"])
def test_a_limit_is_shown_as_it_was_typed(command: str) -> None:
    answer = CliRunner().invoke(lori, [command, "--limit", "9" * 26])
    assert answer.exit_code == 2
    assert f"{'9' * 26} is not in the range" in answer.stderr


@pytest.mark.slow
def test_the_installed_command_proves_what_was_learned(learned_once: Lab) -> None:
    """Most tests run what starts nothing in prepared processes; here is one as its user has it."""
    answer = subprocess.run(
        [Path(sys.executable).with_name("lori"), "verify", "tiny/2", "--json"],
        env={**os.environ, "LORI_HOME": str(learned_once.home)},
        cwd=learned_once.folder,
        capture_output=True,
        check=False,
    )
    assert answer.returncode == 0, answer.stderr
    assert all(check["ok"] for check in json.loads(answer.stdout)["checks"])
