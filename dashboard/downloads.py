"""An adapter as a download: the plain PEFT folder that `lori export` writes, in a zip.

Exporting takes torch, and seconds: the command itself does it, in a process of its own that is ended
when it takes too long. One at a time: this server is for reading pages.
"""

import asyncio
import os
import re
import signal
import sys
import tempfile
import zipfile
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

from starlette.concurrency import run_in_threadpool

from lori_core.config import Read
from lori_core.errors import BadInput, CheckFailed, Unavailable
from registry.accounts import TOKEN_VARIABLE
from registry.home import HOME_VARIABLE
from registry.plain import one_line

EXPORT = (sys.executable, "-m", "flows.cli", "export")
"""`lori export`, as any other program calls it: what it promises is public."""

EVIDENCE = (sys.executable, "-m", "flows.cli", "evidence")
"""`lori evidence`, likewise: its bundle is signed by the key of the registry's home."""

SECONDS = 180.0
"""How long one of them may take."""

WAITING = 3
"""How many may wait for their turn."""

_CHUNK = 1 << 18
_SAID = 16 * 1024
_LONG_AGO = (1980, 1, 1, 0, 0, 0)
_REFUSED, _BAD_INPUT = 1, 2
_TRACE = re.compile(r'^(Traceback \(most recent call last\):|  File ")', re.MULTILINE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """Which adapter."""

    sequence: str
    version: int
    task: str
    read: Read

    @property
    def name(self) -> str:
        """Of the folder in the zip, and of the zip."""
        return f"{self.sequence}-{self.version}-{self.task}-{self.read}"


@dataclass(frozen=True, slots=True)
class Packed:
    """A zip that has no name any more, at its start."""

    file: IO[bytes]
    size: int


@dataclass(slots=True)
class Downloads:
    """Makes adapters and bundles of evidence on demand, one at a time."""

    home: Path
    command: tuple[str, ...] = EXPORT
    evidence: tuple[str, ...] = EVIDENCE
    seconds: float = SECONDS
    _turn: asyncio.Lock = field(default_factory=asyncio.Lock)
    _asking: int = 0

    async def adapter_zip(self, wanted: Wanted) -> Packed:
        """The zip as an open file that has no name any more. Who asked closes it.

        Raises:
            BadInput, CheckFailed: the export was refused, in its words.
            Unavailable: too many wait already, or it took too long.
        """
        version = f"{wanted.sequence}/{wanted.version}"
        arguments = (version, wanted.task, "--read", wanted.read)
        by_hand = f"`lori export {version} {wanted.task}`"
        return await self._in_turn(wanted.name, (*self.command, *arguments), by_hand)

    async def evidence_zip(self, sequence: str, version: int, asked_by: str) -> Packed:
        """The signed bundle of evidence about a version, as `adapter_zip` gives an adapter.

        Of a version whose bits are not what was certified it is made too, and says so. It says who
        asked as well: the process that makes it knows only whose server this is.

        Raises:
            BadInput, CheckFailed: it was refused, in its words.
            Unavailable: too many wait already, or it took too long.
        """
        named = f"{sequence}/{version}"
        name = f"evidence-{sequence}-{version}"
        return await self._in_turn(
            name,
            (*self.evidence, named, f"--asked-by={asked_by}"),
            f"`lori evidence {named}`",
            refused_too=True,
        )

    async def _in_turn(
        self, name: str, command: tuple[str, ...], by_hand: str, *, refused_too: bool = False
    ) -> Packed:
        """Run one command in its turn and pack what it wrote; with `refused_too`, of exit 1 as well."""
        if self._asking > WAITING:
            raise Unavailable(
                "downloads: others wait for theirs", "a free turn", "Ask again in a minute."
            )
        self._asking += 1
        try:
            async with self._turn:
                with tempfile.TemporaryDirectory(prefix="lori-download-") as fresh:
                    folder = Path(fresh) / name
                    ended, said = await self._run(
                        (*command, "--to", str(folder), "--json"), by_hand
                    )
                    if not (refused_too and ended == _REFUSED and folder.is_dir()):
                        _refuse(ended, said, by_hand)
                    return await run_in_threadpool(_packed, folder)
        finally:
            self._asking -= 1

    async def _run(self, command: tuple[str, ...], by_hand: str) -> tuple[int, str]:
        child = await asyncio.create_subprocess_exec(
            *command,
            env=self._environment(),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.PIPE,
            start_new_session=True,
        )
        try:
            async with asyncio.timeout(self.seconds):
                said = await _end_of(child)
        except TimeoutError as error:
            raise Unavailable(
                f"downloads: it took longer than {self.seconds:.0f} s",
                "an idle machine",
                f"{by_hand} has all the time.",
            ) from error
        finally:
            if child.returncode is None:  # too long, or this server ends: nothing of it stays
                os.killpg(child.pid, signal.SIGKILL)
                await child.wait()
        assert child.returncode is not None
        return child.returncode, said

    def _environment(self) -> Mapping[str, str]:
        ours = {name: said for name, said in os.environ.items() if name != TOKEN_VARIABLE}
        return {**ours, HOME_VARIABLE: str(self.home), "OMP_NUM_THREADS": "1"}


def _refuse(ended: int, said: str, by_hand: str) -> None:
    if _TRACE.search(said):  # Python ends with 1 too, and a trace is not for a visitor
        raise RuntimeError(f"{by_hand} ended with {ended}: {said}")
    if ended == _REFUSED:
        raise CheckFailed("download", _line(said))
    if ended == _BAD_INPUT:
        raise BadInput(f"download: {_line(said)}", "what can be written")
    if ended != 0:
        raise RuntimeError(f"{by_hand} ended with {ended}: {said}")


async def pieces(packed: Packed) -> AsyncIterator[bytes]:
    """All of it, read aside; closed at the end, however that comes."""
    with packed.file:
        while piece := await run_in_threadpool(packed.file.read, _CHUNK):
            yield piece


async def _end_of(child: asyncio.subprocess.Process) -> str:
    """What a process says last on stderr, once it has ended."""
    assert child.stderr is not None
    said = b""
    while more := await child.stderr.read(_SAID):
        said = (said + more)[-_SAID:]
    await child.wait()
    return said.decode("utf-8", "replace")


def _line(said: str) -> str:
    """A refusal of `lori` in one line, without its remedy's full stop."""
    return one_line(said).rstrip(".") or "refused without a word"


def _packed(folder: Path) -> Packed:
    """A folder as a zip, the same bytes for the same files: weights do not get smaller."""
    packed = tempfile.TemporaryFile(prefix="lori-zip-")  # noqa: SIM115  the caller closes it
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_STORED) as archive:
        for path in sorted(folder.iterdir()):
            entry = zipfile.ZipInfo(f"{folder.name}/{path.name}", _LONG_AGO)
            entry.external_attr = 0o644 << 16
            entry.file_size = path.stat().st_size
            with path.open("rb") as file, archive.open(entry, "w") as into:
                while piece := file.read(_CHUNK):
                    into.write(piece)
    size = packed.tell()
    packed.seek(0)
    return Packed(packed, size)
