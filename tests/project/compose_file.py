"""docker-compose.yml, Dockerfile and .dockerignore as Docker reads them, as far as ours go."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parents[2]
COMPOSE, DOCKERFILE = ROOT / "docker-compose.yml", ROOT / "Dockerfile"

VARIABLE = re.compile(r"\$(?:\$|\{([A-Za-z_][A-Za-z0-9_]*)(?:(:?[-?])([^}]*))?\})")


class Missing(Exception):
    """A variable that has to be set is not."""


def interpolate(value: Any, variables: Mapping[str, str]) -> Any:
    """Fill `${NAME}`, `${NAME:-default}` and `${NAME:?why}` in, and `$$` as `$`."""
    if isinstance(value, dict):
        return {key: interpolate(each, variables) for key, each in value.items()}
    if isinstance(value, list):
        return [interpolate(each, variables) for each in value]
    if not isinstance(value, str):
        return value

    def filled(match: re.Match[str]) -> str:
        name, operator, rest = match.groups()
        if name is None:
            return "$"
        if variables.get(name):
            return variables[name]
        if operator == ":-":
            return str(rest)
        raise Missing(f"{name}: {rest}")

    return VARIABLE.sub(filled, value)


def raw() -> dict[str, Any]:
    """The file before variables are filled in, its anchors and merges resolved."""
    content: dict[str, Any] = yaml.safe_load(COMPOSE.read_text(encoding="utf-8"))
    return content


def compose(variables: Mapping[str, str]) -> dict[str, Any]:
    """The file with its variables."""
    filled: dict[str, Any] = interpolate(raw(), variables)
    return filled


def in_order(services: Mapping[str, Any]) -> list[str]:
    """The services, each after those it depends on."""
    done: list[str] = []
    while len(done) < len(services):
        ready = [
            name
            for name, each in services.items()
            if name not in done and set(each.get("depends_on", {})) <= set(done)
        ]
        assert ready, "services wait for each other in a circle"
        done += ready
    return done


@dataclass(frozen=True)
class Dockerfile:
    """What the Dockerfile says of the image that runs, its last stage."""

    images: tuple[str, ...]
    """What each stage is FROM, arguments filled in."""

    environment: dict[str, str]
    user: str
    copied: tuple[str, ...]
    """Sources of COPY, in the context."""

    runs: str
    """Every RUN of the last stage."""


def dockerfile() -> Dockerfile:
    """Read it."""
    text = re.sub(r"\\\n\s*", " ", DOCKERFILE.read_text(encoding="utf-8"))
    lines = [line.strip() for line in text.splitlines() if line.strip() and line[0] != "#"]
    arguments: dict[str, str] = {}
    images: list[str] = []
    copied: list[str] = []
    environment: dict[str, str] = {}
    user, runs = "root", ""
    for line in lines:
        word, _, rest = line.partition(" ")
        if word == "ARG" and not images:
            name, _, default = rest.partition("=")
            arguments[name] = default
        elif word == "FROM":
            images.append(interpolate(rest.split()[0], arguments))
            environment, user, runs = {}, "root", ""
        elif word == "ENV":
            environment |= dict(re.findall(r"(\w+)=(\S+)", rest))
        elif word == "USER":
            user = rest
        elif word == "RUN":
            runs += rest + "\n"
        elif word == "COPY" and not rest.startswith("--from"):
            copied += rest.split()[:-1]
    return Dockerfile(tuple(images), environment, user, tuple(copied), runs)


def in_context(path: str) -> bool:
    """Whether .dockerignore lets a path into the build; the last pattern that fits decides."""
    inside = True
    for line in (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines():
        pattern = line.strip()
        if not pattern or pattern.startswith("#"):
            continue
        fits = pattern.lstrip("!")
        parents = [path, *(str(each) for each in Path(path).parents if str(each) != ".")]
        if any(fnmatch(each, fits) for each in parents):
            inside = pattern.startswith("!")
    return inside
