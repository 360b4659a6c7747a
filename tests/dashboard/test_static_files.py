import gzip
import hashlib
import importlib.resources
import re
import subprocess
import sys
from pathlib import Path

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient

from dashboard import static_files
from dashboard.static_files import FOLDER, PLOTLY, static_url

OURS = sorted(path.name for path in FOLDER.iterdir() if path.suffix in static_files.KINDS)
TEMPLATES = sorted((FOLDER.parent / "templates").rglob("*.html"))


@pytest.fixture
def client() -> TestClient:
    app = FastAPI()
    app.include_router(static_files.router)
    return TestClient(app)


@pytest.mark.parametrize("name", OURS)
def test_a_file_is_served_whole_under_a_name_that_holds_its_content(
    client: TestClient, name: str
) -> None:
    content = (FOLDER / name).read_bytes()
    answer = client.get(static_url(name))
    assert answer.content == content
    assert hashlib.sha256(content).hexdigest()[:16] in static_url(name)
    assert "immutable" in answer.headers["cache-control"]
    assert answer.headers["content-type"].split("/")[0] in {"text", "image"}


def test_plotly_is_the_one_that_is_installed(client: TestClient) -> None:
    installed = importlib.resources.files("plotly").joinpath("package_data", PLOTLY).read_bytes()
    answer = client.get(static_url(PLOTLY), headers={"accept-encoding": "identity"})
    assert answer.content == installed
    assert answer.headers["content-type"] == "text/javascript; charset=utf-8"


def test_a_file_travels_packed_to_who_can_unpack_it(client: TestClient) -> None:
    url = static_url("lori.css")
    with client.stream("GET", url, headers={"accept-encoding": "gzip"}) as answer:
        sent = b"".join(answer.iter_raw())
    assert answer.headers["content-encoding"] == "gzip"
    assert answer.headers["vary"] == "accept-encoding"
    assert gzip.decompress(sent) == (FOLDER / "lori.css").read_bytes()
    assert "content-encoding" not in client.get(url, headers={"accept-encoding": "br"}).headers


@pytest.mark.parametrize(
    "path",
    [
        "/static/lori.css",
        "/static/lori.0000000000000000.css",
        "/static/..%2f__init__.py",
        "/static/%2e%2e/app.py",
        "/static/../app.py",
        "/static/",
        "/static/%00",
    ],
)
def test_nothing_else_is_there(client: TestClient, path: str) -> None:
    assert client.get(path).status_code == 404


def test_other_content_would_have_another_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = static_url("lori.js")
    (tmp_path / "lori.js").write_text("changed")
    monkeypatch.setattr(static_files, "FOLDER", tmp_path)
    kept = (static_files._paths, static_files._names, static_files._file)
    for each in kept:
        each.cache_clear()
    try:
        assert static_url("lori.js") != before
    finally:
        for each in kept:
            each.cache_clear()


def test_a_template_cannot_ask_for_a_file_that_is_not_there() -> None:
    with pytest.raises(KeyError):
        static_url("nothing.css")


def test_the_app_does_not_import_plotly_to_serve_it() -> None:
    asked = (
        "import sys, dashboard.app\n"
        "from dashboard.static_files import static_url\n"
        "static_url('plotly.min.js')\n"
        "print([name for name in ('plotly', 'torch', 'mlflow', 'prefect') if name in sys.modules])"
    )
    answer = subprocess.run([sys.executable, "-c", asked], capture_output=True, text=True)
    assert answer.stdout.strip() == "[]", answer.stderr


@pytest.mark.parametrize("path", TEMPLATES, ids=lambda path: path.name)
def test_a_template_holds_no_script_no_style_and_no_other_host(path: Path) -> None:
    text = re.sub(r"{#.*?#}", "", path.read_text(), flags=re.DOTALL)
    for opened in re.findall(r"<script\b[^>]*>", text):
        assert "src=" in opened or 'type="application/json"' in opened, opened
    assert not re.search(r"<style\b|\sstyle=|\son[a-z]+\s*=\s*[\"']|javascript:", text)
    assert not re.search(r"(src|href|action)=[\"'](https?:)?//", text)


@pytest.mark.parametrize("name", [name for name in OURS if name.endswith(".js")])
def test_a_script_makes_no_code_of_text(name: str) -> None:
    text = (FOLDER / name).read_text()
    assert not re.search(
        r"\beval\(|new Function|\bFunction\(|set(Timeout|Interval)\(\s*[\"']", text
    )
    assert "document.write" not in text
