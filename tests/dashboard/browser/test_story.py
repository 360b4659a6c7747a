"""What a team does in a browser, from the first sign-in to the history, on a sequence that was really learned."""

import re
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, replace
from html import unescape
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Locator, Page, expect

from registry.accounts import Accounts, owner
from registry.decisions import Role
from registry.store import open_registry
from tests.dashboard.browser.sites import Site, served
from tests.dashboard.browser.watching import (
    NARROW,
    WIDE,
    Scheme,
    Watched,
    a_window,
    pages_of,
    sign_in,
)
from tests.flows.conftest import TASKS, Lab
from tests.flows.tiny import write_sequence
from tests.made_once import copy_prefect_store

pytestmark = pytest.mark.slow

LENIENT = "guards: [color]\ngate: {underpowered: warn}"
"""Sixteen rows prove little."""

PEOPLE: dict[str, Role] = {"ana": "promoter", "ben": "reviewer", "tom": "viewer"}
PLACE = "/sequences/tiny"
PROMOTIONS = f"{PLACE}/promotions"


@dataclass(frozen=True)
class Learned:
    """A home in which three tasks were learned, and its two dashboards."""

    alone: Site
    """A copy of it in which nobody has an account."""

    team: Site
    """With an account for everybody."""


@pytest.fixture(scope="module")
def learned(tmp_path_factory: pytest.TempPathFactory, prefect_store: Path) -> Iterator[Learned]:
    folder = tmp_path_factory.mktemp("story")
    write_sequence(folder, TASKS, more=LENIENT)
    lab = Lab(folder)
    copy_prefect_store(prefect_store, lab.home)
    answer = lab.lori("run", lab.file)
    assert answer.returncode == 0, answer.stderr
    copy = Path(shutil.copytree(lab.home, folder / "team", symlinks=True))
    with open_registry(copy) as registry:
        record = registry.sequence("tiny")
        asking = {**record.settings, "promotion": "approval"}
        registry.declare_sequence(replace(record, settings=asking))
        book = Accounts(registry, owner())
        for name, role in PEOPLE.items():
            book.create(name, role)
            book.set_password(name, password(name))
    with served(lab.home) as alone, served(copy) as team:
        yield Learned(alone=alone, team=team)


def password(name: str) -> str:
    return f"the password of {name}"


def test_a_team_promotes_is_refused_approves_rolls_back_and_finds_it_in_the_history(
    chromium: Browser, learned: Learned
) -> None:
    team = learned.team
    with (
        a_window(chromium, team) as ana,
        a_window(chromium, team, script=False) as plain,
        a_window(chromium, team, scheme="dark") as ben,
    ):
        ana.open(PROMOTIONS)
        assert ana.page.url.endswith(f"/sign-in?next={PROMOTIONS.replace('/', '%2F')}")
        sign_in(ana, "ana", password("ana"))
        sign_in(ben, "ben", password("ben"))
        sign_in(plain, "ana", password("ana"))

        # Asked for by one, in a browser that runs no script; approved by another
        ask(plain, 1, "it names colours")
        expect(plain.page.locator("#waiting")).to_contain_text("it names colours")
        expect(serves(plain)).to_contain_text("nothing")
        expect(plain.page.get_by_role("button", name="Approve and apply")).to_have_count(0)
        approve(ben, "read the answers")
        expect(serves(ben)).to_contain_text("tiny/1")
        ben.look()

        # Refused by the gate, rule by rule, with what was typed
        ask(ana, 2, "sizes are asked for", status=409)
        refused = ana.page.locator("#refused")
        expect(refused.get_by_title("guard:color:under:size")).to_be_visible()
        refused.get_by_role("link", name="To the form").click()
        form = ana.page.locator("#promote")
        expect(form).to_be_in_viewport()
        expect(form.get_by_label("Reason")).to_have_value("sizes are asked for")
        expect(ana.page.locator("#gate tr.refuses").first).to_contain_text("16 fell")
        expect(serves(ana)).to_contain_text("tiny/1")
        ana.look()

        # Back, at once and alone
        ana.open(PROMOTIONS)
        back = ana.page.locator("#rollback")
        back.get_by_label("To", exact=True).select_option("0")
        back.get_by_label("Reason").fill("complaints about colours")
        back.get_by_role("button", name="Roll back").click()
        expect(serves(ana)).to_contain_text("the bare base")

        # All of it is in the history
        ana.settle()
        history = ana.page.locator("#history")
        for told in ("it names colours", "read the answers", "complaints about colours"):
            expect(history).to_contain_text(told)
        expect(history).to_contain_text("ana")
        expect(history).to_contain_text("ben")
        expect(ana.page.locator("#log")).to_contain_text("whole")
    found = [*ana.found, *plain.found, *ben.found]
    assert not found, "\n".join(found)


def test_who_may_only_read_finds_no_form_and_is_signed_out(
    chromium: Browser, learned: Learned
) -> None:
    with a_window(chromium, learned.team) as tom:
        sign_in(tom, "tom", password("tom"))
        tom.open(PROMOTIONS)
        tom.look()
        main = tom.page.get_by_role("main")
        expect(main.locator("form[method=post]")).to_have_count(0)
        tom.page.get_by_role("button", name="Sign out").click()
        tom.page.wait_for_url("**/sign-in*")
        tom.open(PLACE)
        assert "/sign-in" in tom.page.url
    assert not tom.found, "\n".join(tom.found)


@pytest.mark.parametrize(
    ("scheme", "size"), [("light", WIDE), ("dark", NARROW)], ids=["light", "dark-narrow"]
)
def test_every_page_of_a_sequence_that_was_learned_is_without_a_fault(
    chromium: Browser, learned: Learned, scheme: Scheme, size: tuple[int, int]
) -> None:
    site = learned.alone
    assert site.token is not None
    with a_window(chromium, site, scheme=scheme, size=size) as window:
        sign_in(window, None, site.token)
        for path in pages_of("tiny", 3, "animal"):
            window.open(path)
            window.look()
    assert not window.found, "\n".join(window.found)


def test_no_link_leads_nowhere(chromium: Browser, learned: Learned) -> None:
    """Followed from page to page, two of each kind, downloads too."""
    seen: dict[str, list[str]] = {}
    waiting = ["/"]
    with a_window(chromium, learned.alone) as window:
        while waiting:
            path = waiting.pop()
            kind = re.sub(r"\d+|=[^&]*", "", path)
            known = seen.setdefault(kind, [])
            if path in known or len(known) == 2:
                continue
            known.append(path)
            answer = window.context.request.get(learned.alone.url + path, timeout=120_000)
            assert answer.ok, f"{path}: {answer.status}"
            if "text/html" in answer.headers["content-type"]:
                waiting += map(unescape, re.findall(r'<a[^>]* href="(/[^"#]*)', answer.text()))
    for part in ("versions", "promotions", "queue", "compare", "matrix.csv", "matrix.json", ".zip"):
        assert part in " ".join(seen), f"no link leads to {part}"


def test_tables_stand_without_a_script(chromium: Browser, learned: Learned) -> None:
    with a_window(chromium, learned.alone, script=False) as window:
        page = window.open(PLACE)
        table = page.get_by_role("table").filter(has_text="base").first
        expect(table).to_contain_text("100.0")
        expect(table).to_contain_text("n 16")
        for path in ("/", f"{PLACE}/versions", f"{PLACE}/versions/3", PROMOTIONS):
            expect(window.open(path).get_by_role("table").first).to_be_visible()
    assert not window.found, "\n".join(window.found)


def test_a_keyboard_reaches_the_content_and_every_form(chromium: Browser, learned: Learned) -> None:
    site = learned.alone
    assert site.token is not None
    with a_window(chromium, site) as window:
        sign_in(window, None, site.token)
        page = window.open(PROMOTIONS)
        page.keyboard.press("Tab")
        skip = page.get_by_role("link", name="Skip to the content")
        expect(skip).to_be_focused()
        expect(skip).to_be_in_viewport()
        page.keyboard.press("Enter")
        expect(page.locator("#main")).to_be_focused()

        reached = _tab_through(page)
        wanted = page.locator("main form button:visible").all()
        assert wanted
        unreached = [each.inner_text() for each in wanted if _mark(each) not in reached]
        assert not unreached
        unseen = {mark: look for mark, look in reached.items() if not look}
        assert not unseen, f"focus does not show on {sorted(unseen)}"
    assert not window.found, "\n".join(window.found)


def test_a_theme_that_was_chosen_stays(chromium: Browser, learned: Learned) -> None:
    with a_window(chromium, learned.alone) as window:
        page = window.open(PLACE)
        before = _ground(page)
        page.get_by_role("button", name="Switch to the dark theme").click()
        assert _ground(page) != before
        window.settle()
        chosen = _ground(window.open("/"))
        assert chosen != before
        window.look()
    assert not window.found, "\n".join(window.found)


def ask(window: Watched, version: int, reason: str, *, status: int = 200) -> None:
    """Open the promotions page at a version and send the form that promotes it."""
    window.open(f"{PROMOTIONS}?version={version}")
    form = window.page.locator("#promote")
    form.get_by_label("Reason").fill(reason)
    window.expects(status)
    form.get_by_role("button", name=re.compile("serve|Promote")).click()
    window.settle()


def approve(window: Watched, reason: str) -> None:
    """Approve the request that waits."""
    window.open(PROMOTIONS)
    waiting = window.page.locator("#waiting")
    waiting.get_by_label("Reason").fill(reason)
    waiting.get_by_role("button", name="Approve and apply").click()
    window.settle()


def serves(window: Watched) -> Locator:
    """The figure that says what serves now."""
    return window.page.locator(".fact").filter(has_text="Serves now")


def _tab_through(page: Page) -> dict[str, bool]:
    """Everything that Tab reaches from where it is, and whether the focus shows on it."""
    reached: dict[str, bool] = {}
    last = None
    for _ in range(400):
        page.keyboard.press("Tab")
        told = page.evaluate(_FOCUSED)
        if told is None or (told["mark"] != last and told["mark"] in reached):
            break
        last = told["mark"]  # a field of a date has stops of its own
        reached[last] = reached.get(last, False) or told["seen"]
    return reached


_MARK = """(node) => {
  const all = [...document.querySelectorAll("*")];
  return `${node.nodeName} ${all.indexOf(node)}`;
}"""
_FOCUSED = f"""() => {{
  const node = document.activeElement;
  if (!node || node === document.body) return null;
  const style = getComputedStyle(node);
  const ring = style.outlineStyle !== "none" && parseFloat(style.outlineWidth) > 0;
  return {{ mark: ({_MARK})(node), seen: ring || style.boxShadow !== "none" }};
}}"""


def _mark(each: Locator) -> str:
    return str(each.evaluate(_MARK))


def _ground(page: Page) -> str:
    return str(page.evaluate("() => getComputedStyle(document.body).backgroundColor"))
