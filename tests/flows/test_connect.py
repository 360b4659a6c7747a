"""`lori doctor --connect` against a real Prefect and a real MLflow server, both behind a password."""

import http.client
import json
import os
import signal
import subprocess
import sys
import time
import urllib.request
from base64 import b64encode
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest
from prefect.settings import PREFECT_API_AUTH_STRING, PREFECT_API_URL, temporary_settings

from flows.connect import connect
from flows.prefect_server import free_port
from registry.probing import UNWELL, clock_answer, numbers
from tests.flows.changed_answers import Changed, changed_answers

SETTINGS = {each.name: each for each in (PREFECT_API_URL, PREFECT_API_AUTH_STRING)}
"""Prefect reads the environment when it is imported."""

PREFECT, MLFLOW = "lori:prefect-secret", ("lori", "mlflow-secret-123")


@dataclass(frozen=True)
class Servers:
    prefect: str
    mlflow: str


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Servers]:
    folder = tmp_path_factory.mktemp("servers")
    here = Path(sys.executable).parent
    prefect, mlflow = free_port(), free_port()
    quiet = {"PATH": os.environ["PATH"], "HOME": str(folder), "DO_NOT_TRACK": "true"}
    quiet |= {"OMP_WAIT_POLICY": "PASSIVE"}
    (folder / "auth.ini").write_text(
        f"[mlflow]\ndefault_permission = READ\ndatabase_uri = sqlite:///{folder}/auth.db\n"
        f"admin_username = {MLFLOW[0]}\n"
        "authorization_function = mlflow.server.auth:authenticate_request_basic_auth\n"
    )
    started = [
        subprocess.Popen(
            [here / "prefect", "server", "start", "--port", str(prefect), "--no-ui"],
            env=quiet
            | {
                "PREFECT_HOME": str(folder / "prefect"),
                "PREFECT_SERVER_API_AUTH_STRING": PREFECT,
                "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
                "PREFECT_SERVER_LOGGING_LEVEL": "ERROR",
            },
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
            cwd=folder,
        ),
        subprocess.Popen(
            [
                *(here / "mlflow", "server", "--port", str(mlflow), "--workers", "1"),
                *("--app-name", "basic-auth"),
                *("--backend-store-uri", f"sqlite:///{folder}/mlflow.db"),
                *("--artifacts-destination", str(folder / "files")),
            ],
            env=quiet
            | {
                "MLFLOW_AUTH_CONFIG_PATH": str(folder / "auth.ini"),
                "MLFLOW_AUTH_ADMIN_PASSWORD": MLFLOW[1],
                "MLFLOW_FLASK_SERVER_SECRET_KEY": "for the tests",
                "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
                "MLFLOW_DISABLE_TELEMETRY": "true",
            },
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
            cwd=folder,
        ),
    ]
    try:
        yield Servers(
            _healthy(started[0], f"http://127.0.0.1:{prefect}", "/api/health"),
            _healthy(started[1], f"http://127.0.0.1:{mlflow}", "/health"),
        )
    finally:
        for each in started:
            os.killpg(each.pid, signal.SIGKILL)
            each.wait()


def _healthy(server: subprocess.Popen[bytes], url: str, path: str) -> str:
    deadline = time.monotonic() + 240
    while time.monotonic() < deadline and server.poll() is None:
        try:
            urllib.request.urlopen(f"{url}{path}", timeout=2).close()
        except OSError:
            time.sleep(0.5)
        else:
            return url
    raise TimeoutError(f"{url} does not start here")


@dataclass(frozen=True)
class Said:
    code: int
    answers: list[dict[str, Any]]
    out: str

    def of(self, server: str, question: str) -> list[dict[str, Any]]:
        return [x for x in self.answers if (x["server"], x["question"]) == (server, question)]

    def wrong(self) -> list[tuple[str, str]]:
        return [(each["server"], each["question"]) for each in self.answers if not each["ok"]]


def ask(home: Path, **environment: str) -> Said:
    """The command's questions, asked here: nothing but these variables names a server."""
    told = {"HOME": str(home), "PATH": os.environ["PATH"]} | environment
    settings = {SETTINGS[name]: value for name, value in told.items() if name in SETTINGS}
    with patch.dict(os.environ, told, clear=True), temporary_settings(settings):
        answers = [asdict(each) for each in connect(home / ".lori")]
    assert not (home / ".lori").exists(), "a look makes no home"
    return Said(int(not all(each["ok"] for each in answers)), answers, json.dumps(answers))


def ask_as_a_user(home: Path, **environment: str) -> Said:
    """The command, as a user runs it."""
    home.mkdir(exist_ok=True)
    kept = {k: os.environ[k] for k in ("PATH", "OMP_WAIT_POLICY") if k in os.environ}
    ran = subprocess.run(
        [Path(sys.executable).parent / "lori", "doctor", "--connect", "--json"],
        env=kept | {"HOME": str(home), "LORI_HOME": str(home / ".lori")} | environment,
        cwd=home,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert ran.returncode in (0, 1), ran.stderr
    assert "Traceback" not in ran.stderr
    assert not (home / ".lori").exists(), "a look makes no home"
    return Said(ran.returncode, json.loads(ran.stdout)["answers"], ran.stdout + ran.stderr)


def named(servers: Servers, *, prefect: str = "", mlflow: str = "") -> dict[str, str]:
    return {
        "PREFECT_API_URL": f"{prefect or servers.prefect}/api",
        "PREFECT_API_AUTH_STRING": PREFECT,
        "MLFLOW_TRACKING_URI": mlflow or servers.mlflow,
        "MLFLOW_TRACKING_USERNAME": MLFLOW[0],
        "MLFLOW_TRACKING_PASSWORD": MLFLOW[1],
    }


def without_prefect(servers: Servers, mlflow: str) -> dict[str, str]:
    told = named(servers, mlflow=mlflow)
    return {name: value for name, value in told.items() if name.startswith("MLFLOW")}


@contextmanager
def between(servers: Servers, **told: Any) -> Iterator[tuple[Changed, Changed]]:
    with (
        changed_answers(servers.prefect, **told) as prefect,
        changed_answers(servers.mlflow, **told) as mlflow,
    ):
        yield prefect, mlflow


@pytest.mark.slow
def test_servers_that_fit_are_told_so_and_keep_nothing_of_the_questions(
    servers: Servers, tmp_path: Path
) -> None:
    before = _kept(servers)
    with between(servers) as (prefect, mlflow):
        said = ask_as_a_user(tmp_path, **named(servers, prefect=prefect.url, mlflow=mlflow.url))
    assert (said.code, said.wrong()) == (0, [])
    for server, asked in (("prefect", prefect.asked), ("mlflow", mlflow.asked)):
        questions = {each["question"] for each in said.answers if each["server"] == server}
        assert questions >= {"address", "access", "version", "clock", "rights"}
        compared = next(i for i, each in enumerate(asked) if each.endswith("/version"))
        made = [i for i, each in enumerate(asked) if not each.startswith("GET")]
        assert made, "its rights were really asked"
        assert compared < min(made), "nothing is sent before the versions are compared"
    assert _kept(servers) == before
    assert "secret" not in said.out


@pytest.mark.slow
def test_a_wrong_password_is_told_as_such(servers: Servers, tmp_path: Path) -> None:
    wrong = {"PREFECT_API_AUTH_STRING": "lori:no", "MLFLOW_TRACKING_PASSWORD": "no"}
    said = ask_as_a_user(tmp_path, **(named(servers) | wrong))
    assert said.code == 1
    assert said.wrong() == [("prefect", "access"), ("mlflow", "access")]
    remedies = " ".join(each["remedy"] for each in said.answers)
    assert "PREFECT_API_AUTH_STRING" in remedies
    assert "MLFLOW_TRACKING_PASSWORD" in remedies
    assert not said.of("prefect", "version")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("prefect_says", "mlflow_says"), [("3.8.7", "2.22.4"), ("4.0.0", "4.0.0"), ("2.20.1", "3.0.0")]
)
def test_versions_that_do_not_fit_end_the_questions_before_anything_is_made(
    servers: Servers, tmp_path: Path, prefect_says: str, mlflow_says: str
) -> None:
    says = {
        "/api/admin/version": json.dumps(prefect_says).encode(),
        "/version": mlflow_says.encode(),
    }
    with between(servers, says=says) as (prefect, mlflow):
        said = ask(tmp_path, **named(servers, prefect=prefect.url, mlflow=mlflow.url))
    assert said.wrong() == [("prefect", "version"), ("mlflow", "version")]
    assert {each.partition(" ")[0] for each in prefect.asked + mlflow.asked} == {"GET"}


@pytest.mark.slow
def test_a_newer_server_of_the_same_major_version_fits(servers: Servers, tmp_path: Path) -> None:
    says = {"/api/admin/version": b'"3.99.0"', "/version": b"3.99.0"}
    with between(servers, says=says) as (prefect, mlflow):
        said = ask(tmp_path, **named(servers, prefect=prefect.url, mlflow=mlflow.url))
    assert said.wrong() == []


@pytest.mark.slow
@pytest.mark.parametrize("minutes", [-5, 5])
def test_a_clock_that_is_off_is_told_by_how_much(
    servers: Servers, tmp_path: Path, minutes: int
) -> None:
    with between(servers, clock=timedelta(minutes=minutes)) as (prefect, mlflow):
        said = ask(tmp_path, **named(servers, prefect=prefect.url, mlflow=mlflow.url))
    assert said.wrong() == [("prefect", "clock"), ("mlflow", "clock")]
    side = "ahead of" if minutes > 0 else "behind"
    for each in ("prefect", "mlflow"):
        assert side in said.of(each, "clock")[0]["detail"]
    assert {each.partition(" ")[0] for each in prefect.asked + mlflow.asked} == {"GET"}


@pytest.mark.slow
def test_a_right_that_is_refused_is_named_and_what_was_made_before_it_goes_again(
    servers: Servers, tmp_path: Path
) -> None:
    before = _kept(servers)
    refuses = ("POST /api/deployments/", "POST /api/2.0/mlflow/experiments/create")
    with between(servers, refuses=refuses) as (prefect, mlflow):
        said = ask_as_a_user(tmp_path, **named(servers, prefect=prefect.url, mlflow=mlflow.url))
    assert said.wrong() == [("prefect", "rights"), ("mlflow", "rights")]
    assert "/deployments/" in said.of("prefect", "rights")[0]["detail"]
    kept = _kept(servers)
    del kept["deployments"], before["deployments"]  # the stand-in let it be made, and said no
    assert kept == before


@pytest.mark.slow
@pytest.mark.parametrize("how", ["fails", "hangs_up"])
def test_a_server_that_fails_or_falls_silent_is_not_told_as_a_right_that_lacks(
    servers: Servers, tmp_path: Path, how: str
) -> None:
    before = _kept(servers)
    at = ("POST /api/automations/", "POST /api/2.0/mlflow/experiments/create")
    with between(servers, **{how: at}) as (prefect, mlflow):
        said = ask(tmp_path, **named(servers, prefect=prefect.url, mlflow=mlflow.url))
    assert said.wrong() == [("prefect", "rights"), ("mlflow", "rights")]
    for server in ("prefect", "mlflow"):
        wrong = next(each for each in said.of(server, "rights") if not each["ok"])
        assert ("fails" if how == "fails" else "no longer does") in wrong["detail"]
        assert wrong["remedy"].startswith(UNWELL)
    silent = how == "hangs_up"
    assert (prefect.asked[-1] == at[0]) == silent, "a silent one is asked nothing more"
    if silent:  # what the first left goes with the second
        assert "may be left" in said.of("prefect", "rights")[0]["detail"]
        assert _kept(servers) != before
        assert ask(tmp_path, **named(servers)).wrong() == []
    assert _kept(servers) == before


@pytest.mark.slow
def test_a_server_that_fails_when_it_is_asked_about_what_is_ours_is_not_told_as_sound(
    servers: Servers, tmp_path: Path
) -> None:
    at = "/api/2.0/mlflow/registered-models"
    fails = (f"POST {at}/set-tag", "GET /api/2.0/mlflow/experiments/get")
    model = {"name": "lori-failing"}
    _mlflow(servers, "POST", f"{at}/create", model)
    try:
        with changed_answers(servers.mlflow, fails=fails) as mlflow:
            said = ask(tmp_path, **without_prefect(servers, mlflow.url))
        with changed_answers(servers.mlflow, fails=(f"DELETE {at}/delete",)) as mlflow:
            unsaid = ask(tmp_path, **without_prefect(servers, mlflow.url))
    finally:
        _mlflow(servers, "DELETE", f"{at}/delete", model)
    assert said.wrong() == [("mlflow", "rights"), ("mlflow", "artifacts")]
    assert "lori-failing" in said.out
    assert unsaid.wrong() == [("mlflow", "rights")]
    for each in said.answers + unsaid.answers:
        assert each["ok"] or each["remedy"] == UNWELL


@pytest.mark.slow
def test_a_server_that_was_asked_too_often_is_not_told_as_a_right_that_lacks(
    servers: Servers, tmp_path: Path
) -> None:
    often = ("POST /api/flows/", "POST /api/2.0/mlflow/experiments/create")
    with between(servers, too_often=often) as (prefect, mlflow):
        said = ask(tmp_path, **named(servers, prefect=prefect.url, mlflow=mlflow.url))
    assert said.wrong() == [("prefect", "rights"), ("mlflow", "rights")]
    assert {each["remedy"] for each in said.answers if not each["ok"]} == {UNWELL}


@pytest.mark.parametrize("slashes", ["", "/", "//"])
def test_a_password_in_an_address_is_never_shown(tmp_path: Path, slashes: str) -> None:
    nobody = f"http://me:s3cret@127.0.0.1:{free_port()}{slashes}"
    said = ask(tmp_path, MLFLOW_TRACKING_URI=nobody)
    assert said.wrong()[-1] == ("mlflow", "address")
    assert "s3cret" not in said.out


@pytest.mark.slow
def test_a_server_of_prefect_that_is_busy_is_asked_again(servers: Servers, tmp_path: Path) -> None:
    busy = ("POST /api/deployments/", "POST /api/automations/")
    with between(servers, busy=busy) as (prefect, _):
        said = ask(tmp_path, PREFECT_API_URL=f"{prefect.url}/api", PREFECT_API_AUTH_STRING=PREFECT)
    assert said.wrong() == []
    assert [prefect.asked.count(each) for each in busy] == [2, 2]


@pytest.mark.slow
def test_an_account_that_may_only_read_what_is_ours_is_told_which(
    servers: Servers, tmp_path: Path
) -> None:
    reader = {"username": "reader", "password": "reader-secret-123"}
    _mlflow(servers, "POST", "/api/2.0/mlflow/users/create", reader)
    model = {"name": "lori-assistant"}
    _mlflow(servers, "POST", "/api/2.0/mlflow/registered-models/create", model)
    _mlflow(servers, "POST", "/api/2.0/mlflow/experiments/create", model)
    as_reader = {"MLFLOW_TRACKING_USERNAME": "reader"}
    as_reader["MLFLOW_TRACKING_PASSWORD"] = "reader-secret-123"
    try:
        said = ask(tmp_path, **(named(servers) | as_reader))
        owner = ask(tmp_path, **named(servers))
    finally:
        _mlflow(servers, "DELETE", "/api/2.0/mlflow/registered-models/delete", model)
    assert said.wrong() == [("mlflow", "rights")]
    told = " ".join(each["detail"] for each in said.of("mlflow", "rights"))
    assert "registered model lori-assistant" in told
    assert "experiment lori-assistant" in told
    assert owner.wrong() == []


def test_a_server_that_is_away_is_told_by_its_address(tmp_path: Path) -> None:
    nobody = f"http://127.0.0.1:{free_port()}"
    said = ask_as_a_user(tmp_path, PREFECT_API_URL=f"{nobody}/api", MLFLOW_TRACKING_URI=nobody)
    assert said.wrong() == [("prefect", "address"), ("mlflow", "address")]
    assert nobody in said.out


@pytest.mark.slow
def test_an_address_without_its_api_is_told_as_such(servers: Servers, tmp_path: Path) -> None:
    said = ask(tmp_path, PREFECT_API_URL=servers.mlflow, MLFLOW_TRACKING_URI=servers.prefect)
    assert said.wrong() == [("prefect", "address"), ("mlflow", "address")]
    assert "/api" in said.of("prefect", "address")[0]["remedy"]


def test_without_servers_there_is_nothing_to_ask(tmp_path: Path) -> None:
    said = ask_as_a_user(tmp_path)
    assert (said.code, said.wrong()) == (0, [])
    assert [each["question"] for each in said.answers] == ["address", "address"]


NOON = datetime(2026, 3, 1, 12, 0, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("off", "ok"), [(-120, False), (-12, False), (-10, True), (0, True), (10, True), (12, False)]
)
def test_skew_is_what_the_seconds_of_the_header_and_the_wait_cannot_explain(
    off: int, ok: bool
) -> None:
    date = (NOON + timedelta(seconds=off)).strftime("%a, %d %b %Y %H:%M:%S GMT")
    after = NOON + timedelta(milliseconds=500)
    assert clock_answer("prefect", date, NOON, after).ok is ok


@pytest.mark.parametrize(
    ("version", "expected"),
    [
        ("3.8.8", (3, 8, 8)),
        ("3.8.8+5.gabc.dirty", (3, 8, 8)),
        ("3.9.0.dev2", (3, 9, 0)),
        ("x", None),
    ],
)
def test_the_numbers_of_a_version(version: str, expected: tuple[int, ...] | None) -> None:
    assert numbers(version) == expected


def _kept(servers: Servers) -> dict[str, Any]:
    """What the servers hold, by names, asked without our client."""
    found: dict[str, Any] = {}
    for kind in ("work_pools", "flows", "flow_runs", "automations", "deployments"):
        each = _prefect(servers, f"/api/{kind}/filter")
        found[kind] = sorted(item["name"] for item in each)
    asked = {"max_results": 1000, "view_type": "ALL"}
    experiments = _mlflow(servers, "POST", "/api/2.0/mlflow/experiments/search", asked)
    found["experiments"] = sorted(x["name"] for x in experiments.get("experiments", []))
    models = _mlflow(servers, "GET", "/api/2.0/mlflow/registered-models/search")
    found["models"] = sorted(x["name"] for x in models.get("registered_models", []))
    return found


def _prefect(servers: Servers, path: str) -> Any:
    return _request(servers.prefect, "POST", path, {}, PREFECT)


def _mlflow(servers: Servers, method: str, path: str, content: Any = None) -> Any:
    return _request(servers.mlflow, method, path, content, ":".join(MLFLOW))


def _request(server: str, method: str, path: str, content: Any, account: str) -> Any:
    connection = http.client.HTTPConnection(server.removeprefix("http://"), timeout=60)
    headers = {"Authorization": f"Basic {b64encode(account.encode()).decode()}"}
    if content is not None:
        headers["Content-Type"] = "application/json"
    body = None if content is None else json.dumps(content)
    connection.request(method, path, body, headers)
    answer = connection.getresponse()
    text = answer.read()
    assert answer.status < 300, (path, text)
    return json.loads(text) if text else None
