"""The promises of the documentation: links lead somewhere, every command is described, the reference is current."""

import re
from pathlib import Path

import click
import pytest

ROOT = Path(__file__).parents[2]
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("examples/**/*.md")])


def commands() -> dict[str, click.Command]:
    from flows.cli import lori

    return {
        name: lori.get_command(click.Context(lori), name)
        for name in lori.list_commands(click.Context(lori))
    }  # type: ignore[misc]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_link_to_a_file_leads_somewhere(page: Path) -> None:
    targets = re.findall(r"\]\(([^)#:]+?)(?:#[^)]*)?\)", page.read_text())
    missing = [target for target in targets if not (page.parent / target).exists()]
    assert missing == []


def test_every_command_has_help_and_a_place_in_the_docs() -> None:
    described = "\n".join(page.read_text() for page in PAGES)
    for name, command in commands().items():
        assert command.help, f"`lori {name}` has no help"
        assert f"lori {name}" in described, f"`lori {name}` is in no page"


def test_every_file_of_ours_keeps_to_one_room() -> None:
    long = [
        f"{path.relative_to(ROOT)}: {lines} lines"
        for room in ("lori_core", "registry", "dashboard", "flows")
        for path in (ROOT / room).rglob("*.py")
        if (lines := len(path.read_text().splitlines())) > 500
    ]
    assert long == []
