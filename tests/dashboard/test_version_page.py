"""The pages about versions: what they show, to whom, and what a download is."""

import io
import json
import re
import sys
import threading
import zipfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import cast

import pytest
from fake_aliases import FakeAliases
from fastapi import FastAPI
from people import Person, add_pages, give_passwords
from version_cases import SEQUENCE, Lab, artifacts, filled, said

from dashboard.app import make_app
from dashboard.downloads import WAITING, Downloads
from lori_core.digests import sha256_bytes
from registry.accounts import new_secret
from registry.decisions import Actor
from registry.row_rights import RowRights
from registry.store import open_registry

S = f"/sequences/{SEQUENCE}"
V = f"{S}/versions/3"
API = f"/api{S}/versions/3"
TOKEN = new_secret()

FILES = {"adapter_config.json": b'{"r": 4}', "adapter_model.safetensors": bytes(300_000)}


@pytest.fixture
def lab(home: Path, tables: None, tmp_path: Path) -> Iterator[Lab]:
    with open_registry(home, artifacts=artifacts(tmp_path), aliases=FakeAliases()) as registry:
        yield filled(registry, tmp_path / "files")


@pytest.fixture
def app(lab: Lab) -> FastAPI:
    """Without accounts: everybody reads, the token printed at start signs in."""
    return add_pages(make_app(lab.registry, token=TOKEN, errands=False))


@pytest.fixture
def anyone(app: FastAPI) -> Person:
    return Person(app)


def signed_in(app: FastAPI) -> Person:
    person = Person(app)
    answer = person.send("/sign-in", {"token": TOKEN, "next": "/"})
    assert answer.status_code == 303, answer.text
    return person


def text_of(page: str) -> str:
    """What a page says, without its marks."""
    bare = re.sub(r"<script.*?</script>|<[^>]+>", " ", page, flags=re.DOTALL)
    return " ".join(bare.replace("&nbsp;", " ").split())


def test_every_version_is_listed_with_its_own_score(anyone: Person) -> None:
    answer = anyone.get(f"{S}/versions")
    assert answer.status_code == 200
    said_ = text_of(answer.text)
    for task in ("safety", "math", "code"):
        assert task in said_
    assert "90.0" in said_
    assert f'href="{V}"' in answer.text


def test_a_sequence_without_versions_says_what_makes_one(lab: Lab, app: FastAPI) -> None:
    from dataclasses import replace

    declared = lab.registry.sequence(SEQUENCE)
    lab.registry.declare_sequence(replace(declared, name="fresh", tasks=()))
    page = Person(app).get("/sequences/fresh/versions")
    assert page.status_code == 200
    assert "No version yet" in page.text


def test_proved_zero_is_marked_and_says_under_which_terms_it_holds(anyone: Person) -> None:
    page = anyone.get(V).text
    assert page.count('class="badge proved">proved<') == 2
    assert "with the task id given, in the reference runtime" in page
    assert "none of 14, proved" in text_of(page)
    measured = anyone.get(V, {"read": "cumulative"}).text
    assert 'class="badge proved">proved<' not in measured
    assert "measured, row by row" in measured
    assert "3 of 10" in text_of(measured)


def test_the_page_shows_data_losses_mask_safety_and_files(anyone: Person) -> None:
    said_ = text_of(anyone.get(V).text)
    assert "2 train rows occur twice" in said_
    assert "at the first of 500 steps" in said_
    assert "each point is the mean of 3 steps" in said_
    assert "self_attn.q_proj" in said_
    assert "Harmful refused" in said_
    assert "Harmless answered" in said_
    assert "lori.safetensors" in said_
    assert "learning_rate 0.0005" in said_


def test_what_an_older_version_does_not_remember_is_said(lab: Lab, anyone: Person) -> None:
    from registry.models import Note

    with lab.registry._database.writing() as session:
        session.query(Note).delete()
    said_ = text_of(anyone.get(V).text)
    assert "this version was filed before its losses were kept" in said_
    assert "this version was filed before its audit was kept" in said_


def test_a_version_or_sequence_that_is_not_there_is_a_page_of_its_own(anyone: Person) -> None:
    for path in (f"{S}/versions/9", f"{S}/versions/0", "/sequences/nobody/versions/1"):
        answer = anyone.get(path)
        assert answer.status_code == 404
        assert "Nothing is here" in answer.text
    for path in (f"{S}/versions/x", f"{V}?read=never", f"{V}?page=0", f"{V}/answers?kind=all"):
        assert anyone.get(path).status_code == 400


def test_the_twin_under_api_tells_the_same(anyone: Person) -> None:
    twin = anyone.get(f"{API}/overview").json()
    assert (twin["task"], twin["read"], twin["certificate"]["level"]) == ("code", "inherited", "G2")
    assert [each["score"]["how"] for each in twin["changes"]["tasks"]] == ["proved", "proved"]
    assert twin["own"]["score"]["change"]["value"] == pytest.approx(0.8)
    listed = anyone.get(f"/api{S}/version-list").json()
    assert [each["version"] for each in listed["versions"]] == [3, 2, 1]


# Rows are for those who have the right


def test_nobody_in_particular_sees_counts_and_no_row(anyone: Person) -> None:
    page = anyone.get(f"{V}/answers", {"task": "math", "read": "cumulative"})
    assert page.status_code == 200
    said_ = text_of(page.text)
    assert "Changed 3" in said_
    assert "who has the right to see the rows" in said_
    assert "question" not in page.text
    assert "another wrong one" not in page.text
    twin = anyone.get(f"{API}/answers", {"task": "math", "read": "cumulative"})
    assert twin.json()["counts"]["changed"] == 3
    assert twin.json()["rows"] is None
    assert "question" not in twin.text


def test_the_owner_who_signed_in_sees_them_side_by_side(app: FastAPI) -> None:
    person = signed_in(app)
    page = person.get(f"{V}/answers", {"task": "math", "read": "cumulative", "kind": "lost"})
    said_ = text_of(page.text)
    assert "question 0 of math" in said_
    assert "answer 0" in said_
    assert "right said 0 wrong said 0" in said_
    assert "question 8" not in said_  # that one was gained
    headers = {"authorization": f"Bearer {TOKEN}"}
    twin = person.get(f"{API}/answers", {"task": "math", "read": "cumulative"}, **headers)
    assert twin.json()["rows"][0]["prompt"] == "question 0 of math"


def test_with_accounts_rows_take_a_right_for_each_task_and_hidden_rows_nobody_sees(
    lab: Lab,
) -> None:
    give_passwords(lab.registry)
    rights = RowRights(lab.registry, Actor(name="admin", role="admin", account=True))
    app = add_pages(make_app(lab.registry, token=None, errands=False))
    viewer = Person(app)
    assert viewer.get(f"{V}/answers").status_code == 303  # to the sign-in page
    viewer.sign_in("viewer")
    asked = {"task": "math", "read": "cumulative"}

    def sees(task: str) -> tuple[bool, bool]:
        now = {**asked, "task": task}
        page = viewer.get(f"{V}/answers", now)
        twin = viewer.get(f"{API}/answers", now)
        assert (page.status_code, twin.status_code) == (200, 200)
        return f"of {task}</div>" in page.text, twin.json()["rows"] is not None

    assert sees("math") == (False, False)
    rights.allow_rows("viewer", SEQUENCE, "math")
    assert sees("math") == (True, True)
    assert sees("safety") == (False, False)
    rights.hide_rows(SEQUENCE, "math", "a customer asked")
    assert sees("math") == (False, False)
    assert "hidden from everybody" in viewer.get(f"{V}/answers", asked).text


def test_what_a_row_says_is_text_whatever_it_holds(lab: Lab, app: FastAPI) -> None:
    evil = "<script>alert(1)</script>{{ 7 * 7 }}"
    lab.cell(2, "math", said([1.0] * 10, evil), read="cumulative", adapter="evil")
    page = signed_in(app).get(f"{V}/answers", {"task": "math", "read": "cumulative"}).text
    assert "<script>alert" not in page
    assert "&lt;script&gt;alert(1)&lt;/script&gt;{{ 7 * 7 }}" in page


# Downloads


def exporter(folder: Path, body: str) -> tuple[str, ...]:
    """A command in the place of `lori export`: `to` is the folder it shall make."""
    script = folder / "export.py"
    script.write_text(
        "import os, pathlib, sys, time\n"
        "to = pathlib.Path(sys.argv[sys.argv.index('--to') + 1])\n"
        f"FILES = {FILES!r}\n{body}\n"
    )
    return sys.executable, str(script)


WRITES = "to.mkdir()\nfor name, data in FILES.items(): (to / name).write_bytes(data)"


def with_exporter(app: FastAPI, lab: Lab, folder: Path, body: str, **more: float) -> Person:
    app.state.downloads = Downloads(lab.home, command=exporter(folder, body), **more)
    return Person(app)


def test_an_adapter_comes_as_the_exported_folder_in_a_zip_the_same_bytes_each_time(
    lab: Lab, app: FastAPI, tmp_path: Path
) -> None:
    person = with_exporter(app, lab, tmp_path, WRITES)
    first, second = (person.get(f"{V}/adapter.zip", {"task": "math"}) for _ in range(2))
    assert first.status_code == 200
    assert first.content == second.content
    assert int(first.headers["content-length"]) == len(first.content)
    named = "assistant-3-math-inherited"
    assert f'filename="{named}.zip"' in first.headers["content-disposition"]
    with zipfile.ZipFile(io.BytesIO(first.content)) as archive:
        assert archive.testzip() is None
        found = {name: archive.read(name) for name in archive.namelist()}
    assert found == {f"{named}/{name}": data for name, data in FILES.items()}


def test_the_export_is_asked_for_as_at_the_command_line(
    lab: Lab, app: FastAPI, tmp_path: Path
) -> None:
    told = tmp_path / "told.json"
    body = (
        f"import json; pathlib.Path({str(told)!r}).write_text("
        "json.dumps([sys.argv[1:], os.environ['LORI_HOME']]))\n" + WRITES
    )
    person = with_exporter(app, lab, tmp_path, body)
    assert person.get(f"{V}/adapter.zip", {"read": "cumulative"}).status_code == 200
    arguments, home = json.loads(told.read_text())
    assert arguments[:4] == ["assistant/3", "code", "--read", "cumulative"]
    assert home == str(lab.home)


def test_a_download_is_made_for_no_page_elsewhere_and_without_the_servers_token(
    lab: Lab, app: FastAPI, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LORI_TOKEN", "lori_of_the_server")
    person = with_exporter(app, lab, tmp_path, "assert 'LORI_TOKEN' not in os.environ\n" + WRITES)
    for site, status in (
        ("cross-site", 403),
        ("same-site", 403),
        ("same-origin", 200),
        ("none", 200),
    ):
        found = person.get(f"{V}/adapter.zip", sec_fetch_site=site)
        assert found.status_code == status
    assert person.get(f"{V}/evidence.zip", sec_fetch_site="cross-site").status_code == 403


def test_evidence_asked_for_by_nobody_in_particular_says_so(
    app: FastAPI, lab: Lab, anyone: Person, tmp_path: Path
) -> None:
    script = tmp_path / "evidence.py"
    script.write_text("import sys; sys.exit(sys.argv[2])")
    app.state.downloads = Downloads(lab.home, evidence=(sys.executable, str(script)))
    assert "--asked-by=nobody signed in" in anyone.get(f"{V}/evidence.zip").text


@pytest.mark.parametrize(("code", "status"), [(1, 409), (2, 400)])
def test_what_the_export_refuses_is_refused_in_its_words(
    lab: Lab, app: FastAPI, tmp_path: Path, code: int, status: int
) -> None:
    body = f"print('the adapter is not what was filed.', file=sys.stderr); sys.exit({code})"
    answer = with_exporter(app, lab, tmp_path, body).get(f"{V}/adapter.zip", accept="*/*")
    assert answer.status_code == status
    assert "the adapter is not what was filed" in answer.json()["error"]


def test_an_export_that_takes_too_long_is_ended_with_all_it_started(
    lab: Lab, app: FastAPI, tmp_path: Path
) -> None:
    pids = tmp_path / "pids"
    body = (
        f"child = os.fork()\nopen({str(pids)!r}, 'a').write(f'{{os.getpid()}}\\n')\ntime.sleep(600)"
    )
    person = with_exporter(app, lab, tmp_path, body, seconds=2.0)
    answer = person.get(f"{V}/adapter.zip", accept="*/*")
    assert answer.status_code == 503
    assert "took longer than 2 s" in answer.json()["error"]
    started = [int(line) for line in pids.read_text().split()]
    assert len(started) == 2
    assert not any(_runs(pid) for pid in started)


def _runs(pid: int) -> bool:
    try:
        status = Path(f"/proc/{pid}/stat").read_text()
    except FileNotFoundError:
        return False
    return status.rpartition(")")[2].split()[0] not in {"Z", "X"}


def test_one_export_at_a_time_and_few_may_wait(lab: Lab, app: FastAPI, tmp_path: Path) -> None:
    busy = tmp_path / "busy"
    body = (
        f"busy = pathlib.Path({str(busy)!r})\n"
        "if busy.exists(): print('two at once', file=sys.stderr); sys.exit(1)\n"
        f"busy.touch(); time.sleep(0.6)\n{WRITES}\nbusy.unlink()"
    )
    with_exporter(app, lab, tmp_path, body)
    person = Person(app)
    statuses: list[int] = []
    lock = threading.Lock()
    with person.client:  # one loop for all, as in a server

        def ask(number: int) -> None:
            answer = person.get(f"{V}/adapter.zip", accept="*/*")
            with lock:
                statuses.append(answer.status_code)

        with ThreadPoolExecutor(WAITING + 4) as crowd:
            list(crowd.map(ask, range(WAITING + 4)))
    assert set(statuses) == {200, 503}
    assert statuses.count(200) == WAITING + 1


def test_a_task_that_is_not_learned_by_then_is_refused_before_anything_starts(
    lab: Lab, app: FastAPI, tmp_path: Path
) -> None:
    person = with_exporter(app, lab, tmp_path, "sys.exit(9)")
    answer = person.get(f"{S}/versions/1/adapter.zip", {"task": "code"}, accept="*/*")
    assert answer.status_code == 404
    assert "one of safety" in answer.json()["error"]
    for task in ("--to", "../x", "a b", ""):
        assert person.get(f"{V}/adapter.zip", {"task": task}, accept="*/*").status_code == 400


def test_the_certificate_is_the_bytes_whose_digest_is_recorded(lab: Lab, anyone: Person) -> None:
    answer = anyone.get(f"{V}/certificate.json")
    assert answer.headers["content-type"] == "application/json"
    assert sha256_bytes(answer.content) == lab.registry.certificate(SEQUENCE, 3).sha256
    assert cast(dict[str, object], answer.json())["level"] == "G2"
