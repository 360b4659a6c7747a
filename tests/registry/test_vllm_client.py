"""The client against a small HTTP server that stands in for vLLM (which cannot run here) and says so."""

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from click.testing import CliRunner
from decision_cases import ANN, TOM, learn
from fake_aliases import FakeAliases
from folder_artifacts import FolderArtifacts

from flows.cli import lori
from lori_core.digests import sha256_file
from lori_core.errors import BadInput, CheckFailed, Unavailable
from registry.desk import Desk
from registry.store import Registry, open_registry
from registry.vllm_client import WEIGHTS, VllmServer, load_promoted


class StandInForVllm(BaseHTTPRequestHandler):
    """Knows the three requests the client makes, answered as vLLM's documentation says."""

    server_version = "stand-in-for-vllm"
    loaded: dict[str, str]
    in_place = True
    allowed = True
    refuses = False
    calls: list[str]

    def do_GET(self) -> None:
        models = [{"id": name, "object": "model"} for name in ("base", *type(self).loaded)]
        self._answer(200, json.dumps({"object": "list", "data": models}))

    def do_POST(self) -> None:
        kind = type(self)
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        name = body["lora_name"]
        kind.calls.append(f"{self.path.removeprefix('/v1/')} {name}")
        if not kind.allowed:
            self._answer(404, json.dumps({"detail": "Not Found"}))
        elif kind.refuses:
            self._answer(
                400, json.dumps({"message": "rank 64 is\x1b[2J greater than max_lora_rank"})
            )
        elif self.path == "/v1/unload_lora_adapter":
            kind.loaded.pop(name)
            self._answer(200, f"Success: LoRA adapter '{name}' removed successfully.")
        elif name in kind.loaded and not (kind.in_place and body.get("load_inplace")):
            self._answer(400, f"The lora adapter '{name}' has already been loaded.")
        else:
            kind.loaded[name] = body["lora_path"]
            self._answer(200, f"Success: LoRA adapter '{name}' added successfully.")

    def _answer(self, status: int, text: str) -> None:
        body = text.encode()
        self.send_response(status)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def vllm() -> Iterator[VllmServer]:
    kind = StandInForVllm
    kind.loaded, kind.calls, kind.in_place, kind.allowed, kind.refuses = {}, [], True, True, False
    standing_in = ThreadingHTTPServer(("127.0.0.1", 0), kind)
    threading.Thread(target=standing_in.serve_forever, daemon=True).start()
    client = VllmServer(f"http://127.0.0.1:{standing_in.server_port}")
    yield client
    client.close()
    standing_in.shutdown()
    standing_in.server_close()


@pytest.fixture
def promoted(home: Path, tables: None, tmp_path: Path) -> Iterator[Registry]:
    """Three versions, the second one serves; what it serves is exported."""
    folder = FolderArtifacts(tmp_path / "store")
    with open_registry(home, artifacts=folder, aliases=FakeAliases()) as registry:
        learn(registry, tmp_path / "learned", 3)
        for version in (1, 2):
            Desk(registry, ANN).promote("assistant", version, reason="good")
        for task in ("t01", "t02"):
            export(registry, tmp_path / "exports", 2, task)
        yield registry


def export(registry: Registry, exports: Path, version: int, task: str) -> None:
    (exports / task).mkdir(parents=True, exist_ok=True)
    (exports / task / WEIGHTS).write_bytes(f"weights of {task} at {version}".encode())
    digest = sha256_file(exports / task / WEIGHTS)
    registry.record_export("assistant", version, task, "inherited", digest)


def load(registry: Registry, vllm: VllmServer, exports: Path) -> tuple[object, ...]:
    return load_promoted(Desk(registry, TOM), registry, "assistant", vllm, exports, host="gpu-1")


def test_what_is_promoted_is_loaded_and_confirmed_by_digest(
    promoted: Registry, vllm: VllmServer, tmp_path: Path
) -> None:
    told = load(promoted, vllm, tmp_path / "exports")
    assert vllm.names() == {"base", "assistant/t01", "assistant/t02"}
    assert told == Desk(promoted, TOM).confirmations("assistant")
    for each, task in zip(
        Desk(promoted, TOM).confirmations("assistant"), ("t01", "t02"), strict=True
    ):
        assert (each.version, each.task, each.host, each.matches) == (2, task, "gpu-1", True)
        assert each.digest == sha256_file(tmp_path / "exports" / task / WEIGHTS)


@pytest.mark.parametrize("in_place", [True, False])
def test_a_rollback_replaces_what_is_loaded_and_takes_the_rest_out(
    promoted: Registry, vllm: VllmServer, tmp_path: Path, in_place: bool
) -> None:
    load(promoted, vllm, tmp_path / "exports")
    StandInForVllm.in_place = in_place
    StandInForVllm.calls.clear()
    Desk(promoted, ANN).rollback("assistant", to_version=1, reason="worse")
    export(promoted, tmp_path / "exports", 1, "t01")
    load(promoted, vllm, tmp_path / "exports")
    assert vllm.names() == {"base", "assistant/t01"}
    assert StandInForVllm.calls[0] == "unload_lora_adapter assistant/t02"
    assert ("unload_lora_adapter assistant/t01" in StandInForVllm.calls) is not in_place


def test_a_file_that_is_no_export_of_ours_is_never_loaded(
    promoted: Registry, vllm: VllmServer, tmp_path: Path
) -> None:
    (tmp_path / "exports" / "t01" / WEIGHTS).write_bytes(b"somebody else's")
    with pytest.raises(CheckFailed, match="is no export of assistant/2 t01"):
        load(promoted, vllm, tmp_path / "exports")
    assert vllm.names() == {"base"}
    assert Desk(promoted, TOM).confirmations("assistant") == ()


def test_an_export_of_another_version_is_not_this_one(
    promoted: Registry, vllm: VllmServer, tmp_path: Path
) -> None:
    Desk(promoted, ANN).promote("assistant", 3, reason="better")
    with pytest.raises(CheckFailed, match="is no export of assistant/3 t01"):
        load(promoted, vllm, tmp_path / "exports")


def test_a_retired_task_is_taken_out(promoted: Registry, vllm: VllmServer, tmp_path: Path) -> None:
    load(promoted, vllm, tmp_path / "exports")
    Desk(promoted, ANN).retire("assistant", "t01", "unused")
    load(promoted, vllm, tmp_path / "exports")
    assert vllm.names() == {"base", "assistant/t02"}


def test_what_vllm_refuses_is_one_line_and_confirms_nothing(
    promoted: Registry, vllm: VllmServer, tmp_path: Path
) -> None:
    StandInForVllm.refuses = True
    with pytest.raises(CheckFailed, match="greater than max_lora_rank") as refusal:
        load(promoted, vllm, tmp_path / "exports")
    assert str(refusal.value).isprintable()
    StandInForVllm.allowed = False
    with pytest.raises(BadInput, match="VLLM_ALLOW_RUNTIME_LORA_UPDATING"):
        load(promoted, vllm, tmp_path / "exports")
    assert Desk(promoted, TOM).confirmations("assistant") == ()


def test_nobody_there_and_nothing_to_serve_are_said(
    promoted: Registry, vllm: VllmServer, tmp_path: Path
) -> None:
    with pytest.raises(Unavailable, match="does not answer"):
        load(promoted, VllmServer("http://127.0.0.1:1"), tmp_path / "exports")
    learn(promoted, tmp_path / "other", 1, name="other")
    with pytest.raises(BadInput, match="other@champion"):
        load_promoted(Desk(promoted, TOM), promoted, "other", vllm, tmp_path, host="gpu-1")
    with pytest.raises(BadInput, match=WEIGHTS):
        load(promoted, vllm, tmp_path / "nothing")


def test_the_command_loads_what_serves_and_says_what_it_loaded(
    promoted: Registry,
    vllm: VllmServer,
    home: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("LORI_HOME", str(home))
    monkeypatch.delenv("LORI_TOKEN", raising=False)
    told = ["--vllm", vllm.place, "--adapters", str(tmp_path / "exports"), "--host", "gpu-1"]
    answer = CliRunner().invoke(lori, ["serve-vllm", "assistant", *told])
    assert answer.exit_code == 0, answer.output
    assert answer.stdout.splitlines() == [
        f"assistant/2 {each.task} {each.digest} on gpu-1"
        for each in Desk(promoted, TOM).confirmations("assistant")
    ]
    assert vllm.names() == {"base", "assistant/t01", "assistant/t02"}
    monkeypatch.setenv("LORI_TOKEN", "lori_of-nobody")
    assert CliRunner().invoke(lori, ["serve-vllm", "assistant", *told]).exit_code == 2
