"""The promises of the documentation: links lead somewhere, every command is described, the reference is current."""

import re
from collections.abc import Callable
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


def test_the_receiver_that_the_docs_show_knows_our_messages_from_others() -> None:
    from registry.outbox import DELIVERY_HEADER, SIGNATURE_HEADER, TIMESTAMP_HEADER, signature

    page = (ROOT / "docs/commands.md").read_text()
    (program,) = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    names: dict[str, Callable[[str, dict[str, str], bytes], bool]] = {}
    exec(program, names)  # type: ignore[arg-type]
    secret, body = "a secret as printed", b'{"id":7}'
    headers = {
        DELIVERY_HEADER: "7",
        TIMESTAMP_HEADER: "1770000000",
        SIGNATURE_HEADER: signature(secret, 7, 1770000000, body),
    }
    assert names["is_ours"](secret, headers, body)
    assert not names["is_ours"](secret, headers, body + b" ")
    assert not names["is_ours"](secret, {**headers, TIMESTAMP_HEADER: "1770000001"}, body)
    assert not names["is_ours"]("another secret", headers, body)


def test_every_file_of_ours_keeps_to_one_room() -> None:
    long = [
        f"{path.relative_to(ROOT)}: {lines} lines"
        for room in ("lori_core", "registry", "dashboard", "flows")
        for path in (ROOT / room).rglob("*.py")
        if (lines := len(path.read_text().splitlines())) > 500
    ]
    assert long == []
