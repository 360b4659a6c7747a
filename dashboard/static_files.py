"""Scripts and styles, under names that hold their content: a browser keeps them for ever.

Nothing is vendored: plotly.js is read from the plotly wheel that is installed, whose package is found
without being imported.
"""

import gzip
import hashlib
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from pathlib import Path, PurePosixPath

from fastapi import APIRouter, Request
from starlette.exceptions import HTTPException
from starlette.responses import Response

FOLDER = Path(__file__).parent / "static"
PLOTLY = "plotly.min.js"
KINDS = {
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}
FOR_EVER = "public, max-age=31536000, immutable"

router = APIRouter(include_in_schema=False)


@dataclass(frozen=True, slots=True)
class StaticFile:
    """A file as it is served."""

    kind: str
    plain: bytes
    packed: bytes


def static_url(name: str) -> str:
    """Where a file of ours, or plotly.js, is served: `/static/lori.<digest>.css`.

    Raises:
        KeyError: no file has this name: a template asks for what is not there.
    """
    return f"/static/{_names()[name]}"


@router.get("/static/{name}")
def static_file(name: str, request: Request) -> Response:
    """A file by its hashed name; any other name is not here, whatever it looks like."""
    plain = {hashed: name for name, hashed in _names().items()}.get(name)
    if plain is None:
        raise HTTPException(404)
    found = _file(plain)
    headers = {"cache-control": FOR_EVER, "vary": "accept-encoding"}
    if "gzip" not in request.headers.get("accept-encoding", ""):
        return Response(found.plain, headers=headers, media_type=found.kind)
    headers["content-encoding"] = "gzip"
    return Response(found.packed, headers=headers, media_type=found.kind)


def plotly_script() -> Path:
    """plotly.js of the installed wheel."""
    spec = find_spec("plotly")
    assert spec is not None, "plotly is a dependency"
    assert spec.origin is not None
    return Path(spec.origin).parent / "package_data" / PLOTLY


@cache
def _paths() -> dict[str, Path]:
    ours = {path.name: path for path in sorted(FOLDER.iterdir()) if path.suffix in KINDS}
    return {**ours, PLOTLY: plotly_script()}


@cache
def _names() -> dict[str, str]:
    return {name: _hashed(name, path.read_bytes()) for name, path in _paths().items()}


@cache
def _file(name: str) -> StaticFile:
    plain = _paths()[name].read_bytes()
    kind = KINDS[PurePosixPath(name).suffix]
    return StaticFile(kind, plain, gzip.compress(plain, 6, mtime=0))


def _hashed(name: str, content: bytes) -> str:
    path = PurePosixPath(name)
    return f"{path.stem}.{hashlib.sha256(content).hexdigest()[:16]}{path.suffix}"
