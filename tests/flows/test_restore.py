"""docs/how-to/disaster-recovery.md, its commands run as they stand there, on what was learned for real."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.flows.conftest import ROOT, Lab
from tests.registry.servers import NotHere, postgresql

PAGE = ROOT / "docs" / "how-to" / "disaster-recovery.md"


def block(name: str) -> str:
    """The page's block that begins with `# NAME`."""
    (found,) = re.findall(rf"```sh\n# {re.escape(name)}\n(.*?)```", PAGE.read_text(), re.DOTALL)
    return str(found)


def shell(text: str, lab: Lab, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run a block of the page where `lori` is the one of this checkout."""
    ours = {
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "LORI_HOME": str(lab.home),
        "SEQUENCE": "tiny",
    }
    ran = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", text],
        env={**os.environ, **ours, **environment},
        cwd=lab.folder,
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert ran.returncode == 0, f"{ran.stdout}\n{ran.stderr}"
    return ran


def decided(lab: Lab) -> None:
    """A promotion and a rollback: a log of two."""
    for words in (
        ("promote", "tiny/1", "--reason", "first"),
        ("rollback", "tiny", "--base", "--reason", "not yet"),
    ):
        answer = lab.lori(*words)
        assert answer.returncode == 0, answer.stderr


def told(lab: Lab, **environment: str) -> dict[str, object]:
    """What the registry says of the sequence: digests, scores, the log."""
    said: dict[str, object] = {}
    for words in (
        ("versions", "tiny"),
        ("matrix", "tiny", "--read", "inherited"),
        ("history", "tiny"),
    ):
        answer = lab.lori(*words, "--json", environment=environment)
        assert answer.returncode == 0, answer.stderr
        said[words[0]] = json.loads(answer.stdout)
    return said


@pytest.mark.slow
def test_a_home_comes_back_from_its_backup(learned: Lab, tmp_path: Path) -> None:
    decided(learned)
    before = told(learned)
    backup = tmp_path / "backup"
    backup.mkdir()
    shell(block("home: back up"), learned, BACKUP=str(backup))
    shutil.rmtree(learned.home)
    shell(block("home: restore"), learned, BACKUP=str(backup))
    assert "nothing is wrong" in shell(block("check"), learned).stdout
    assert told(learned) == before
    assert learned.home.stat().st_mode & 0o777 == 0o700


@pytest.mark.slow
def test_databases_come_back_from_their_dumps(learned_once: Lab, tmp_path: Path) -> None:
    """The stack's blocks; no Docker runs here, so what they run in a container runs on this host."""
    lab = Lab(tmp_path / "lab")
    shutil.copytree(learned_once.folder, lab.folder, ignore=shutil.ignore_patterns("home"))
    backup = tmp_path / "backup"
    backup.mkdir()
    try:
        with postgresql(tmp_path / "old") as old, postgresql(tmp_path / "new") as new:
            for server in (old, new):
                for name in ("lori", "mlflow", "prefect"):
                    _psql(server.data, f"CREATE DATABASE {name}")
            there = _stores(old.data)
            lab.home.mkdir()
            first = lab.lori("accounts", "first", "ann", environment=there)
            assert first.returncode == 0, first.stderr
            (there["LORI_TOKEN"],) = re.findall(r"lori_[\w-]+", first.stdout)
            for words in (("run", lab.file), ("promote", "tiny/1", "--reason", "first")):
                answer = lab.lori(*words, environment=there)
                assert answer.returncode == 0, answer.stderr
            before = told(lab, **there)
            shell(_here(block("stack: back up"), lab, old.data), lab, BACKUP=str(backup))
            assert {each.name for each in backup.iterdir()} == {
                *("lori.dump", "mlflow.dump", "prefect.dump", "home.tar.gz", "artifacts.tar.gz")
            }
            shutil.rmtree(lab.home)
            lab.home.mkdir()
            back = _stores(new.data) | {"LORI_TOKEN": there["LORI_TOKEN"]}
            assert back["LORI_REGISTRY_URL"] != there["LORI_REGISTRY_URL"]
            shell(_here(block("stack: restore"), lab, new.data), lab, BACKUP=str(backup))
            assert "nothing is wrong" in shell(block("check"), lab, **back).stdout
            assert told(lab, **back) == before
    except NotHere as why:
        pytest.skip(str(why))


def _stores(data: Path) -> dict[str, str]:
    return {
        "LORI_REGISTRY_URL": f"postgresql://postgres@/lori?host={data}",
        "MLFLOW_TRACKING_URI": f"postgresql+psycopg://postgres@/mlflow?host={data}",
    }


def _tools(data: Path) -> Path:
    """Where the programs of a running server lie."""
    return Path((data / "postmaster.opts").read_text().split()[0]).parent


def _psql(data: Path, said: str) -> None:
    command = [_tools(data) / "psql", "-h", data, "-U", "postgres", "-c", said]
    subprocess.run(command, check=True, capture_output=True)


def _here(text: str, lab: Lab, data: Path) -> str:
    """A block of the stack as it runs without containers: its programs, on our folders."""
    for service in ("worker", "mlflow"):
        text = text.replace(f"docker compose run --rm --no-deps -T {service} ", "")
    for program in ("pg_dump", "pg_restore"):
        ours = f"{_tools(data)}/{program} --host={data}"
        text = text.replace(f"docker compose exec -T postgres {program}", ours)
    (lab.folder / "artifacts").mkdir(exist_ok=True)
    text = text.replace("/var/lib/lori", str(lab.home))
    text = text.replace("/var/lib/mlflow", str(lab.folder / "artifacts"))
    kept = [line for line in text.splitlines() if not re.match("docker compose (stop|up) ", line)]
    assert "docker" not in "\n".join(kept)
    return "\n".join(kept)
