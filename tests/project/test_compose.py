"""docker-compose.yml: what it promises, read; and what it starts, really started, without Docker."""

import http.client
import json
import re
import subprocess
import sys
import time
from base64 import b64encode
from collections.abc import Iterator
from typing import Any

import pytest

from tests.flows.tiny import write_sequence
from tests.project.compose_file import (
    ROOT,
    VARIABLE,
    Missing,
    compose,
    dockerfile,
    in_context,
    in_order,
    raw,
)
from tests.project.stack_processes import Stack, stack
from tests.project.whole_postgresql import server
from tests.registry.servers import NotHere

SERVICE_KEYS = {
    *("build", "cap_drop", "command", "depends_on", "environment", "healthcheck", "image", "init"),
    *("networks", "ports", "read_only", "restart", "security_opt", "shm_size"),
    *("stop_grace_period", "tmpfs", "user", "volumes"),
}
SECRET = re.compile(r"PASSWORD|SECRET|TOKEN|AUTH_STRING")
OURS = ("prefect", "mlflow", "automations", "worker", "dashboard")


def secrets() -> dict[str, str]:
    """What deploy/make_env.py prints, by name."""
    ran = subprocess.run(
        [sys.executable, ROOT / "deploy" / "make_env.py"],
        capture_output=True,
        text=True,
        check=True,
    )
    return dict(line.split("=", 1) for line in ran.stdout.splitlines())


def services(**more: str) -> dict[str, Any]:
    found: dict[str, Any] = compose(secrets() | more)["services"]
    return found


def test_the_file_says_nothing_compose_does_not_know_and_names_nothing_that_is_not_there() -> None:
    content = compose(secrets())
    known = {"name", "services", "volumes", "networks"}
    assert {each for each in content if not each.startswith("x-")} == known
    assert set(in_order(content["services"])) == {"postgres", *OURS}
    for name, service in content["services"].items():
        assert set(service) <= SERVICE_KEYS, name
        assert set(service["networks"]) <= set(content["networks"])
        for needed, how in service.get("depends_on", {}).items():
            assert how == {"condition": "service_healthy"}
            assert "healthcheck" in content["services"][needed], (name, needed)
        for mount in service.get("volumes", []):
            source = mount.split(":")[0]
            there = (ROOT / source).exists() if source[0] in "./" else source in content["volumes"]
            assert there, (name, mount)


def test_every_service_runs_without_rights_and_can_change_nothing_but_its_volumes() -> None:
    image = dockerfile()
    assert re.fullmatch(r"\d+:\d+", image.user)
    assert not image.user.startswith("0:")
    for name, service in services().items():
        assert service["user"] == ("postgres" if name == "postgres" else image.user), name
        assert service["read_only"] is True
        assert service["cap_drop"] == ["ALL"]
        assert service["security_opt"] == ["no-new-privileges:true"]
        assert "/tmp" in service["tmpfs"]
        assert "privileged" not in service
    owned = re.findall(r"install -d -o lori -g lori [^&]*", image.runs)
    made = {path for line in owned for path in re.findall(r"/[\w/]+", line)}
    for name in OURS:
        for mount in services()[name].get("volumes", []):
            target, *how = mount.split(":")[1:]
            assert target in made or how == ["ro"], (name, mount)
    number = image.user.split(":")[0]
    assert f"--uid {number}" in image.runs


def test_only_this_host_reaches_it() -> None:
    published = [port for each in services().values() for port in each.get("ports", [])]
    assert published
    assert all(re.fullmatch(r"127\.0\.0\.1:\d+:\d+", port) for port in published)
    assert "ports" not in services()["postgres"]
    assert compose(secrets())["networks"]["store"] == {"internal": True}
    assert services()["postgres"]["networks"] == ["store"]


def test_everything_that_is_fetched_is_pinned() -> None:
    images = [*dockerfile().images, *(each["image"] for each in services().values())]
    for image in images:
        _, colon, tag = image.partition(":")
        assert colon, image
        assert re.match(r"\d+\.\d+", tag), image
    text = (ROOT / "Dockerfile").read_text(encoding="utf-8")
    assert all("-c constraints.txt" in line for line in re.findall(r"bin/pip install.*", text))


def test_every_secret_comes_from_the_environment_and_the_file_does_not_go_without() -> None:
    given = secrets()
    needed: set[str] = set()
    for name, service in raw()["services"].items():
        for variable, value in service.get("environment", {}).items():
            if SECRET.search(variable) and "CONFIG" not in variable:
                assert VARIABLE.search(str(value)), (name, variable)
            for match in VARIABLE.finditer(str(value)):
                if match[2] == ":?":
                    needed.add(match[1])
        said = " ".join(map(str, service.get("command", [])))
        assert not VARIABLE.search(said.replace("$$", "")), "on a command line others read it"
    assert needed == set(given)
    assert len(set(given.values())) == len(given)
    assert all(len(value) >= 24 for value in given.values())
    assert secrets() != given
    for name in given:
        with pytest.raises(Missing, match=name):
            compose({each: value for each, value in given.items() if each != name})


def test_no_service_holds_the_secret_of_another() -> None:
    held = {
        name: {match[1] for value in each["environment"].values()
               for match in VARIABLE.finditer(str(value)) if match[1]}
        for name, each in raw()["services"].items()
    }  # fmt: skip
    assert held["prefect"] == {"PREFECT_DB_PASSWORD", "PREFECT_PASSWORD"}
    assert held["mlflow"] == {"MLFLOW_DB_PASSWORD", "MLFLOW_PASSWORD", "MLFLOW_SECRET_KEY"}
    for name in ("worker", "dashboard", "automations"):
        tokens = {each for each in held[name] if each.endswith("TOKEN")}
        assert held[name] - tokens == {"LORI_DB_PASSWORD", "PREFECT_PASSWORD", "MLFLOW_PASSWORD"}


def test_the_build_gets_what_the_dockerfile_copies_and_no_more() -> None:
    copied = dockerfile().copied
    for source in (*copied, "deploy/mlflow-auth.ini"):
        assert (ROOT / source).exists(), source
        assert in_context(source), source
    for name in (".git", ".env", ".venv", ".lori", "tests", "examples", "deploy/make_env.py"):
        assert not in_context(name), name
    assert in_context("flows/cli.py")
    assert not in_context("flows/__pycache__/cli.pyc")


def test_mlflow_lets_in_who_asks_by_the_names_the_file_uses_and_nobody_else() -> None:
    told = services()["mlflow"]["command"]
    allowed = next(each for each in told if each.startswith("--allowed-hosts=")).partition("=")[2]
    asked = {services()[name]["environment"]["MLFLOW_TRACKING_URI"] for name in OURS[2:]}
    asked |= set(
        re.findall(r"http://[\w.]+:\d+", " ".join(services()["mlflow"]["healthcheck"]["test"]))
    )
    assert {url.removeprefix("http://") for url in asked} <= set(allowed.split(","))
    assert "*" not in allowed
    assert "--app-name=basic-auth" in told


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    folder = tmp_path_factory.mktemp("compose")
    (folder / "files").mkdir()
    write_sequence(folder / "files", ("color",), "assistant.yaml", name="assistant")
    try:
        with (
            server(folder / "postgres") as database,
            stack(folder, database, secrets()) as made,
        ):
            yield made
    except NotHere as why:
        pytest.skip(str(why))


@pytest.mark.slow
def test_the_stack_starts_as_the_how_to_says_and_learns_a_task(running: Stack) -> None:
    """docs/how-to/one-host.md, step by step."""
    running.wait_healthy("postgres")
    for name in ("prefect", "mlflow"):
        running.start(name)
    for name in ("prefect", "mlflow"):
        running.wait_healthy(name)

    first = running.run("dashboard", "lori", "accounts", "first", "ann")
    assert first.returncode == 0, first.stderr
    admin = _token(first.stdout)
    as_ann = {"LORI_TOKEN": admin}
    added = running.run(
        "dashboard", "lori", "accounts", "add", "worker", "--role", "trainer", **as_ann
    )
    assert added.returncode == 0, added.stderr
    issued = running.run("dashboard", "lori", "accounts", "token", "worker", **as_ann)
    running.variables["LORI_WORKER_TOKEN"] = _token(issued.stdout)

    for name in ("automations", "worker", "dashboard"):
        running.start(name)
    for name in ("worker", "dashboard"):
        running.wait_healthy(name)
    assert running.running["automations"].wait(timeout=180) == 0, running.log("automations")
    port = running.ports["8321"]
    submitted = running.run("worker", "lori", "submit", "/files/assistant.yaml")
    assert submitted.returncode == 0, submitted.stderr
    deadline = time.monotonic() + 420
    while time.monotonic() < deadline:
        status, said = _get(port, "/api/arrivals", f"Bearer {admin}")
        assert status == 200, said
        states = [each["state"] for each in _rows(said)]
        if states == ["learned"]:
            break
        assert "failed" not in states, (said, running.log("worker"))
        time.sleep(2)
    else:
        raise TimeoutError(f"{said}\n{running.log('worker')}")

    status, said = _get(port, "/api/sequences", f"Bearer {admin}")
    assert status == 200
    assert "assistant" in said
    assert any((running.folder / "artifacts").rglob("lori.safetensors"))
    for file in ("registry.db", "mlflow.db", "prefect/prefect.db"):
        assert not (running.folder / "home" / file).exists(), "everything is in PostgreSQL"
    verified = running.run("worker", "lori", "verify", "assistant")
    assert verified.returncode == 0, verified.stdout + verified.stderr
    connected = running.run("worker", "lori", "doctor", "--connect")
    assert connected.returncode == 0, connected.stdout


@pytest.mark.slow
def test_nobody_gets_in_without_a_password_or_by_another_name(running: Stack) -> None:
    prefect, mlflow, dashboard = (running.ports[port] for port in ("4200", "5000", "8321"))
    assert _get(prefect, "/api/admin/version")[0] == 401
    assert _get(prefect, "/api/admin/version", _basic("lori:wrong"))[0] == 401
    right = _basic(f"lori:{running.variables['PREFECT_PASSWORD']}")
    assert _get(prefect, "/api/admin/version", right)[0] == 200
    search = "/api/2.0/mlflow/registered-models/search"
    assert _get(mlflow, search)[0] == 401
    assert _get(mlflow, search, _basic("lori:wrong"))[0] == 401
    right = _basic(f"lori:{running.variables['MLFLOW_PASSWORD']}")
    assert _get(mlflow, search, right)[0] == 200
    assert _get(mlflow, search, right, host="evil.example")[0] == 403
    assert _get(dashboard, "/api/sequences")[0] == 401
    assert _get(dashboard, "/api/sequences", "Bearer lori_wrong")[0] == 401
    assert _get(dashboard, "/healthz", host="evil.example")[0] == 400
    assert _get(dashboard, "/healthz", host="dashboard:8321")[0] == 200


@pytest.mark.slow
def test_each_role_has_its_own_database_and_needs_its_own_password(running: Stack) -> None:
    from psycopg import OperationalError, connect

    at = {"host": "127.0.0.1", "port": running.ports["5432"]}
    words = {
        each: running.variables[f"{each.upper()}_DB_PASSWORD"]
        for each in ("prefect", "mlflow", "lori")
    }
    for role, password in words.items():
        for database in words:
            if role == database:
                connect(**at, user=role, dbname=database, password=password).close()
                with pytest.raises(OperationalError, match="password authentication failed"):
                    connect(**at, user=role, dbname=database, password="wrong")
            else:
                with pytest.raises(OperationalError, match="permission denied"):
                    connect(**at, user=role, dbname=database, password=password)


@pytest.mark.slow
def test_stopped_as_compose_stops_them_they_leave_in_time_and_leave_nothing(running: Stack) -> None:
    for name in ("dashboard", "worker", "mlflow", "prefect"):
        grace = int(running.services[name]["stop_grace_period"].rstrip("s"))
        assert running.stop(name) < grace, name
    assert running.running["worker"].returncode == 0, running.log("worker")
    assert running.running["dashboard"].returncode == 0, running.log("dashboard")
    left = subprocess.run(
        ["ps", "-eo", "pid=,args="], capture_output=True, text=True, check=True
    ).stdout.splitlines()
    assert not [line for line in left if f"{running.folder}/home" in line]


def _get(port: int, path: str, account: str | None = None, host: str = "") -> tuple[int, str]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    headers = {"Host": host} if host else {}
    if account is not None:
        headers["Authorization"] = account
    connection.request("GET", path, headers=headers)
    answer = connection.getresponse()
    return answer.status, answer.read().decode()


def _basic(account: str) -> str:
    return f"Basic {b64encode(account.encode()).decode()}"


def _token(said: str) -> str:
    found = re.search(r"lori_[\w-]+", said)
    assert found, said
    return found[0]


def _rows(said: str) -> list[dict[str, Any]]:
    content = json.loads(said)
    rows: list[dict[str, Any]] = content if isinstance(content, list) else content["arrivals"]
    return rows
