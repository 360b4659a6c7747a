"""A small client that brings what is promoted into a vLLM server, and confirms to us what it loaded.

vLLM loads an adapter at run time by `POST /v1/load_lora_adapter` with a name and a folder it can read
(only where it was started with VLLM_ALLOW_RUNTIME_LORA_UPDATING=True, which makes its own port one to
guard). It does not say which bytes it read, so the file is hashed before and after.

    lori export assistant@champion safety --to /adapters/assistant/safety     # one folder a task
    lori serve-vllm assistant --vllm http://127.0.0.1:8000 --adapters /adapters/assistant
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import get_args

import httpx

from lori_core.config import Read
from lori_core.digests import sha256_file
from lori_core.errors import BadInput, CheckFailed, Unavailable
from registry.clock import now
from registry.decisions import Alias, Confirmation
from registry.desks import Decisions, Readers
from registry.plain import one_line
from registry.settings import without_password
from registry.succession import serving

KEY_VARIABLE = "VLLM_API_KEY"

WEIGHTS = "adapter_model.safetensors"
"""The file of an exported folder whose digest is the adapter's."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Served:
    """One adapter that should serve."""

    sequence: str
    version: int
    asked: str
    """The task a request names."""
    task: str
    """The task that answers: its newest version."""
    read: Read

    @property
    def name(self) -> str:
        """What requests to vLLM call it: `assistant/safety`."""
        return f"{self.sequence}/{self.asked}"


class VllmServer:
    """The few questions we ask a vLLM server."""

    def __init__(self, url: str, key: str | None = None) -> None:
        """Prepare the connection; nothing is asked yet. `key` is what vLLM calls its API key."""
        self.place = without_password(url)
        headers = {} if key is None else {"authorization": f"Bearer {key}"}
        try:
            self._client = httpx.Client(base_url=url, headers=headers, timeout=300.0)
        except httpx.InvalidURL as error:
            raise BadInput(f"--vllm {self.place} ({error})", "http://HOST:PORT") from error

    def close(self) -> None:
        """Close the connection."""
        self._client.close()

    def names(self) -> frozenset[str]:
        """The names it serves, its base's own among them."""
        answer = self._ask("GET", "/v1/models")
        try:
            return frozenset(str(model["id"]) for model in answer.json()["data"])
        except (ValueError, KeyError, TypeError) as error:
            raise self._strange(answer) from error

    def load(self, name: str, folder: Path) -> None:
        """Serve the adapter of a folder under a name, in place of what had that name."""
        wanted = {"lora_name": name, "lora_path": str(folder), "load_inplace": True}
        answer = self._ask("POST", "/v1/load_lora_adapter", wanted)
        if answer.status_code == 400 and "already been loaded" in answer.text:
            self._done(self._ask("POST", "/v1/unload_lora_adapter", {"lora_name": name}))
            answer = self._ask(
                "POST", "/v1/load_lora_adapter", wanted
            )  # an older vLLM: a short gap
        self._done(answer)
        if name not in self.names():
            raise CheckFailed("vllm", f"{self.place} took {name} and does not list it")

    def unload(self, name: str) -> None:
        """Serve a name no more."""
        self._done(self._ask("POST", "/v1/unload_lora_adapter", {"lora_name": name}))

    def _ask(
        self, method: str, path: str, body: Mapping[str, object] | None = None
    ) -> httpx.Response:
        try:
            return self._client.request(method, path, json=body)
        except (httpx.TransportError, httpx.DecodingError) as error:
            raise Unavailable(
                f"vLLM {self.place} does not answer ({one_line(str(error))})", "a running server"
            ) from error

    def _done(self, answer: httpx.Response) -> None:
        if answer.status_code == 404:
            raise BadInput(
                f"vLLM {self.place} does not know {answer.request.url.path}",
                "a server that loads adapters at run time",
                "Start it with --enable-lora and VLLM_ALLOW_RUNTIME_LORA_UPDATING=True.",
            )
        if not answer.is_success:
            raise CheckFailed(
                "vllm", f"{self.place} refused ({answer.status_code}: {one_line(answer.text)})"
            )

    def _strange(self, answer: httpx.Response) -> BadInput:
        return BadInput(
            f"{self.place} answered {answer.status_code} with something else than its models",
            "a vLLM server",
        )


def load_promoted(
    desk: Decisions,
    readers: Readers,
    sequence: str,
    server: VllmServer,
    adapters: Path,
    *,
    alias: Alias = "champion",
    host: str,
) -> tuple[Confirmation, ...]:
    """Bring every adapter that an alias serves into a vLLM server, and confirm each to the registry.

    A file whose digest is of no export the registry knows is never loaded. What serves is asked again
    at the end: if it was moved meanwhile, that is an error, and the confirmations say what is loaded.

    Args:
        desk: whom to ask what serves and to confirm to.
        readers: whom to ask which tasks there are.
        sequence: whose.
        server: the vLLM server.
        adapters: one exported folder for each task, named by it, which the server can read too.
        alias: what to serve.
        host: where that server is, as the log should say.

    Raises:
        BadInput: nothing serves, or a folder is missing.
        CheckFailed: a file is not one that was exported; vLLM refuses; what serves moved meanwhile.
    """
    version = desk.champion(sequence, alias)
    if version is None:
        raise BadInput(f"{sequence}@{alias}", "a version that serves", "`lori promote` makes one.")
    serving_now = served_at(desk, readers, sequence, version)
    wanted = frozenset(served.name for served in serving_now)
    for name in sorted(server.names()):
        if name.startswith(f"{sequence}/") and name not in wanted:
            server.unload(name)
    confirmed = []
    for served in serving_now:
        folder = adapters / served.task
        digest = _digest(folder)
        exported = readers.exported(sequence, version, served.task, served.read)
        if digest not in exported:
            raise CheckFailed(
                "digest", f"{folder / WEIGHTS} is no export of {sequence}/{version} {served.task}"
            )
        server.load(served.name, folder)
        if _digest(folder) != digest:
            raise CheckFailed("digest", f"{folder / WEIGHTS} changed while it was loaded")
        confirmed.append(
            desk.confirm(sequence, version, served.task, served.read, digest, host, now())
        )
    if (found := desk.champion(sequence, alias)) != version:
        raise CheckFailed("moved", f"{sequence}@{alias} became {found} while {version} was loaded")
    return tuple(confirmed)


def served_at(desk: Decisions, readers: Readers, sequence: str, version: int) -> tuple[Served, ...]:
    """The adapters a version serves: for each task learned by then, its newest version's; none where
    that is retired."""
    trained = readers.sequence(sequence).adapter.get("read", "inherited")
    modes: tuple[Read, ...] = get_args(Read)
    read = next(mode for mode in modes if mode == trained)
    tasks, retired = readers.tasks(sequence), desk.retired(sequence)
    answering = [(each.name, serving(tasks, each.name, version)) for each in tasks[:version]]
    return tuple(
        Served(sequence=sequence, version=version, asked=asked, task=task, read=read)
        for asked, task in answering
        if task not in retired
    )


def _digest(folder: Path) -> str:
    path = folder / WEIGHTS
    if path.is_symlink() or not path.is_file():
        raise BadInput(f"{path}", "an exported adapter", "`lori export` writes one.")
    return sha256_file(path)
