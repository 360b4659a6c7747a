"""One row of a benchmark, and where rows are written."""

import json
import os
import platform
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import torch

RESULTS = Path(__file__).parent / "results"


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """A figure beside its peer's, measured in the same run."""

    name: str
    value: float
    unit: str
    peer: str
    peer_value: float
    ratio: float
    spread: str
    environment: str


def compared(
    name: str, value: float, unit: str, *, peer: str, peer_value: float, spread: str
) -> Result:
    """A result whose ratio is value / peer_value (nan where the peer has nothing)."""
    ratio = value / peer_value if peer_value else float("nan")
    return Result(
        name=name,
        value=value,
        unit=unit,
        peer=peer,
        peer_value=peer_value,
        ratio=ratio,
        spread=spread,
        environment=environment(),
    )


def environment() -> str:
    """The machine in a line: enough to know what a figure may be compared with."""
    capability = torch.backends.cpu.get_cpu_capability()
    return (
        f"{platform.machine()} {capability}, {os.cpu_count()} cores, "
        f"torch {torch.__version__}, {torch.get_num_threads()} threads"
    )


def write_results(name: str, results: Sequence[Result]) -> Path:
    """Write benchmarks/results/NAME.json and return its path."""
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / f"{name}.json"
    path.write_text(json.dumps([asdict(result) for result in results], indent=1) + "\n")
    return path
