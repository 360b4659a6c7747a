"""The soak's own parts, small: `make soak` runs them at full size."""

from pathlib import Path

import pytest

from tests.registry import soak
from tests.registry.servers import NotHere

pytestmark = pytest.mark.slow

SMALL = {"processes": 2, "each": 4, "contenders": 4, "kills": 1, "registrations": 8}


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A folder that PostgreSQL's user may enter."""
    for folder in (tmp_path, *tmp_path.parents):
        if folder.name.startswith("pytest-"):
            folder.chmod(0o755)
    return tmp_path


@pytest.mark.parametrize("part", soak.PARTS)
def test_a_part_of_the_soak_holds_when_it_is_small(part: str, place: Path) -> None:
    try:
        soak.run(part, SMALL, place / "soak.md")
    except NotHere as reason:
        pytest.skip(str(reason))
    logged = (place / "soak.md").read_text()
    assert f"| {part} | " in logged


def test_a_part_that_is_logged_is_not_run_again(
    place: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    ran: list[Path] = []

    def deed(folder: Path, sizes: soak.Sizes) -> str:
        ran.append(folder)
        return "well"

    monkeypatch.setattr(soak, "PARTS", {"part": (deed, ("each",))})
    for _ in range(2):
        soak.run("part", SMALL, place / "soak.md")
    assert len(ran) == 1
    assert "passed before" in capsys.readouterr().out
    soak.run("part", {**SMALL, "each": 5}, place / "soak.md")
    assert len(ran) == 2
