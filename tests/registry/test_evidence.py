"""An evidence bundle holds what was recorded, says what was not, and its page escapes everything."""

import json
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from decision_cases import ANN, BEN, break_a_file, learn
from fake_aliases import FakeAliases
from folder_artifacts import FolderArtifacts

from dashboard.evidence.page import evidence_page
from registry.desk import Desk
from registry.evidence import gather
from registry.store import Registry, open_registry

NASTY = '<script>alert("x")</script> & </title>'
AUDITS = {"t01": {"rows": {"test": 60}, "findings": []}}


@pytest.fixture
def decided(
    home: Path, tables: None, folder: FolderArtifacts, tmp_path: Path
) -> Iterator[Registry]:
    """Three versions; the second was asked for by one person and approved by another."""
    with open_registry(home, artifacts=folder, aliases=FakeAliases()) as registry:
        learn(registry, tmp_path / "learned", 3, promotion="approval")
        asked = Desk(registry, ANN).promote("assistant", 2, reason=NASTY)
        Desk(registry, BEN).approve(asked.id, reason="looked at it")
        yield registry


def bundle_of(registry: Registry, version: int) -> dict[str, Any]:
    made = gather(registry, "assistant", version, audits=AUDITS, by="ann")
    back: dict[str, Any] = json.loads(json.dumps(made, allow_nan=False))
    assert back == made  # plain data: nothing is lost on the way through JSON
    return back


def test_a_promoted_version_shows_on_whose_word_and_on_what_evidence(decided: Registry) -> None:
    bundle = bundle_of(decided, 2)
    assert bundle["subject"]["version"] == 2
    assert bundle["subject"]["adapter_sha256"] == decided.version("assistant", 2).adapter_sha256
    (promotion,) = bundle["history"]["promotions"]
    assert (promotion["requested_by"], promotion["approved_by"]) == ("ann", "ben")
    assert (promotion["status"], promotion["reason"]) == ("applied", NASTY)
    assert bundle["history"]["serves_as"] == ["champion"]
    kinds = [entry["kind"] for entry in bundle["history"]["log"]]
    assert kinds == ["requested", "approved", "applying", "applied"]
    assert bundle["history"]["chain"]["ok"]
    assert bundle["gate"]["ok"]
    assert bundle["gate"]["sha256"] == promotion["report_sha256"]
    assert {rule["rule"] for rule in bundle["gate"]["report"]["rules"]} >= {
        "certificate", "integrity", "learning:t02",
    }  # fmt: skip


def test_a_request_that_was_turned_down_is_not_what_a_version_serves_on(decided: Registry) -> None:
    served_on = bundle_of(decided, 2)["gate"]["id"]
    again = Desk(decided, ANN).promote("assistant", 3, reason="newer")
    Desk(decided, BEN).approve(again.id, reason="looked at it")
    Desk(decided, ANN).rollback("assistant", reason="an emergency", to_version=0)
    refused = Desk(decided, ANN).promote("assistant", 2, reason="back again")
    assert refused.report_id is not None
    assert refused.report_id > served_on
    Desk(decided, BEN).reject(refused.id, reason="no")
    assert bundle_of(decided, 2)["gate"]["id"] == served_on


def test_the_uses_of_test_sets_are_counted(decided: Registry) -> None:
    for version in (2, 3):
        uses = bundle_of(decided, 2)["gate"]["test_uses"]
        assert uses == bundle_of(decided, 2)["gate"]["report"]["test_uses"]
        assert uses
        assert all(isinstance(count, int) and count >= 1 for count in uses.values())
        Desk(decided, ANN).gate("assistant", version)


def test_only_what_was_learned_by_the_version_is_in_its_bundle(decided: Registry) -> None:
    bundle = bundle_of(decided, 2)
    (matrix,) = bundle["matrices"]
    assert matrix["tasks"] == ["t01", "t02"]
    assert [row["version"] for row in matrix["rows"]] == [0, 1, 2]
    for row in matrix["rows"]:
        for cell in filter(None, row["cells"]):
            assert cell["low"] <= cell["value"] <= cell["high"]
            assert cell["n"] == 60
    assert [each["task"] for each in bundle["data"]] == ["t01", "t02"]
    assert matrix["summary"]["forgetting"] == 0.0


def test_what_was_never_done_is_said(decided: Registry) -> None:
    bundle = bundle_of(decided, 3)
    assert bundle["gate"] is None
    assert bundle["history"]["promotions"] == []
    page = evidence_page(bundle)
    assert "No gate report was recorded" in page
    assert "Nobody asked that it be promoted" in page
    limits = " ".join(bundle["limits"])
    assert "audited: t02, t03" in limits
    assert "names no guard" in limits
    assert "No licence was stated for: the base, t01, t02, t03" in limits
    assert "in the reference runtime" in limits


def test_a_broken_chain_is_in_the_bundle(decided: Registry) -> None:
    (decided.settings.home / "anchors" / "assistant.json").write_text('{"length": 9, "head": "x"}')
    bundle = bundle_of(decided, 2)
    assert not bundle["history"]["chain"]["ok"]
    assert "broken" in evidence_page(bundle)


def test_bits_that_are_not_what_was_certified_are_on_top_of_the_bundle(decided: Registry) -> None:
    whole = bundle_of(decided, 3)
    assert whole["integrity"] == {"ok": True, "faults": []}
    assert "BROKEN" not in evidence_page(whole)
    break_a_file(decided, 2)
    for version, ok in ((1, True), (2, False), (3, False)):  # 3 stands on 2
        bundle = bundle_of(decided, version)
        assert bundle["integrity"]["ok"] is ok
        assert ("assistant/2" in " ".join(bundle["integrity"]["faults"])) is not ok
        page = evidence_page(bundle)
        assert ("BROKEN when this was written" in page.partition("<h2>")[0]) is not ok


class Tags(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.seen: list[tuple[str, dict[str, str | None]]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append((tag, dict(attrs)))


def test_the_page_needs_nothing_else_and_runs_nothing(decided: Registry) -> None:
    page = evidence_page(bundle_of(decided, 2))
    tags = Tags()
    tags.feed(page)
    assert {tag for tag, _ in tags.seen}.isdisjoint(
        {"script", "link", "img", "iframe", "object", "embed", "form"}
    )
    for _, attributes in tags.seen:
        assert not {"src", "href", "style"} & set(attributes)
        assert not any(name.startswith("on") for name in attributes)
    assert "&lt;script&gt;" in page
    assert NASTY not in page
    assert "default-src &#39;none&#39;" in page or "default-src 'none'" in page


def test_the_page_is_a_function_of_the_bundle(decided: Registry) -> None:
    bundle = bundle_of(decided, 2)
    assert evidence_page(bundle) == evidence_page(json.loads(json.dumps(bundle)))
    assert "/models" not in evidence_page(bundle)  # a folder's path says where somebody lives
