import json
import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, timezone
from types import SimpleNamespace

import pytest
from fastapi import Request
from jinja2 import UndefinedError

from dashboard.pages import words
from dashboard.pages.shown import changed_query, environment, show
from dashboard.visitors import visitor_of


def request(path: str = "/queue", query: str = "", sequence: str | None = None) -> Request:
    return Request(
        {
            "type": "http",
            "method": "GET",
            "path": path,
            "query_string": query.encode(),
            "headers": [],
            "path_params": {} if sequence is None else {"sequence": sequence},
        }
    )


def rendered(text: str, **given: object) -> str:
    return environment().from_string(text).render(**given)


@dataclass(frozen=True)
class Scored:
    value: float = 0.938
    low: float = 0.912
    high: float = 0.957
    n: int = 500


PARTS = '{% from "parts/ui.html" import badge, cell, plot, empty, pager, field, csrf, whisker %}'


def test_a_score_is_a_percent_with_its_interval_and_its_rows() -> None:
    text = re.sub(r"<[^>]+>|&nbsp;", " ", words.figure(Scored()))
    assert text.split() == ["93.8", "[91.2,", "95.7]", "n", "500"]
    change = words.change(Scored(value=-0.0125, low=-0.03, high=0.0, n=7))
    text = re.sub(r"<[^>]+>|&nbsp;", " ", change)
    assert text.split() == ["−1.25", "[−3.00,", "0.00]", "n", "7"]


@pytest.mark.parametrize(
    "name", ["percent", "figure", "change", "moment", "span", "short", "bytes"]
)
def test_what_is_missing_is_never_written_as_a_number(name: str) -> None:
    text = re.sub(r"<[^>]+>", "", str(words.FILTERS[name](None)))  # type: ignore[operator]
    assert not any(each.isdigit() for each in text)
    assert 'class="missing"' in str(words.FILTERS[name](None))  # type: ignore[operator]


@pytest.mark.parametrize(
    ("value", "said"), [(0.0125, "+1.25"), (-0.0125, "−1.25"), (0.0, "0.00"), (-0.00001, "0.00")]
)
def test_a_change_has_a_sign_unless_it_is_zero(value: float, said: str) -> None:
    assert words.points(value) == said


@pytest.mark.parametrize(
    ("seconds", "said"),
    [(0.2, "0.2 s"), (42, "42 s"), (200, "3 min 20 s"), (3600, "1 h"), (7500, "2 h 5 min"),
     (90_000, "1 d 1 h"), (1800, "30 min")],
)  # fmt: skip
def test_a_length_of_time_is_said_in_its_two_largest_units(seconds: float, said: str) -> None:
    assert str(words.span(seconds)).replace("&nbsp;", " ") == said


def test_a_time_is_utc_whatever_its_zone() -> None:
    at = datetime(2026, 1, 31, 1, 30, 59, tzinfo=timezone(timedelta(hours=2)))
    assert '<time datetime="2026-01-30T23:30:59Z"' in words.moment(at)
    assert ">2026-01-30 23:30<" in words.moment(at)


@pytest.mark.parametrize(
    ("count", "said"), [(999, "999 B"), (1500, "1.5 kB"), (2_140_000, "2.1 MB")]
)
def test_a_size_is_in_the_unit_that_suits_it(count: int, said: str) -> None:
    assert str(words.size(count)).replace("&nbsp;", " ") == said


def test_what_people_wrote_is_text_and_nothing_else() -> None:
    evil = '"><script>alert(1)</script>'
    text = rendered(
        PARTS + '{{ field("a", x, "a", x) }}{{ badge("pass", x) }}{{ empty(x, x, x) }}'
        "{{ x | short }}{{ x }}",
        x=evil,
    )
    assert "<script" not in text
    assert text.count("&lt;script&gt;") == 9


def test_a_figure_in_a_page_cannot_end_its_script() -> None:
    data = {"data": [{"name": "</script><script>alert(1)</script>"}], "layout": {}}
    text = rendered(PARTS + '{{ plot("p", f, "label", 200) }}', f=data)
    found = re.search(r'<script type="application/json">(.*?)</script>', text, re.DOTALL)
    assert found is not None
    assert json.loads(found[1]) == data
    assert text.count("</script>") == 1


def test_a_plot_keeps_its_height_and_says_what_it_is_before_anything_is_drawn() -> None:
    text = rendered(PARTS + '{{ plot("p", f, "Scores by task", 200) }}', f={"data": []})
    assert 'height="200"' in text
    assert 'role="img" aria-label="Scores by task"' in text
    assert "<noscript>" in text


def test_a_name_a_template_does_not_know_is_an_error_not_a_blank() -> None:
    with pytest.raises(UndefinedError):
        rendered("{{ nothing_of_that_name }}")


def test_a_cell_without_a_score_says_so() -> None:
    assert "not measured" in rendered(PARTS + "{{ cell(none) }}")
    assert '<td class="diagonal">' in rendered(PARTS + '{{ cell(c, "diagonal") }}', c=Scored())


def test_an_interval_is_drawn_where_it_lies_and_a_proved_zero_has_none() -> None:
    drawn = rendered(PARTS + "{{ whisker(-0.02, -0.04, 0.01, 0.08) }}")
    assert 'x1="25.00%" x2="56.25%"' in drawn
    assert 'cx="37.50%"' in drawn
    assert "range" not in rendered(PARTS + "{{ whisker(0, 0, 0, 0.08, true) }}")


@pytest.mark.parametrize(
    ("number", "total", "links"),
    [(1, 60, ["2", "3", "Next"]), (2, 60, ["Previous", "1", "3", "Next"]),
     (20, 1000, ["Previous", "1", "18", "19", "21", "22", "40", "Next"]), (1, 25, [])],
)  # fmt: skip
def test_pages_are_links(number: int, total: int, links: list[str]) -> None:
    text = rendered(
        PARTS + "{{ pager(number, 25, total, query) }}",
        number=number,
        total=total,
        query=lambda changes: f"?page={changes['page']}",
    )
    assert re.findall(r"<a [^>]*>([^<]+)</a>", text) == links


def test_a_page_names_where_one_is_and_what_it_may_load() -> None:
    asked = request("/sequences/assistant/versions/3", sequence="assistant")
    answer = show(asked, visitor_of(asked), "error.html", error_page(), title="A title & more")
    text = bytes(answer.body).decode()
    assert "<title>A title &amp; more · lori</title>" in text
    assert 'href="/sequences/assistant/versions" aria-current="true"' in text
    assert 'href="#main"' in text
    assert '<html lang="en">' in text
    assert "unsafe-inline" not in answer.headers["content-security-policy"]
    assert "plots." not in text
    drawn = show(asked, visitor_of(asked), "error.html", error_page(), title="x", plots=True)
    policy = drawn.headers["content-security-policy"]
    assert "style-src 'self' 'unsafe-inline'" in policy
    assert "script-src 'self';" in policy
    assert "plots." in bytes(drawn.body).decode()


def test_a_link_keeps_the_rest_of_the_question() -> None:
    query = changed_query(request("/", "q=a%20%26b&page=3&sort=name"), "/")
    assert query({"page": 4}) == "/?q=a+%26b&page=4&sort=name"
    assert query({"page": None, "q": None, "sort": None}) == "/"
    assert query({"q": '"><script>'}) == "/?q=%22%3E%3Cscript%3E&page=3&sort=name"


def error_page() -> object:
    return SimpleNamespace(status=404, line="sequence x: none", advice="Look elsewhere.")


def test_moments_are_aware() -> None:
    assert words.moment(datetime(2026, 1, 1, tzinfo=UTC)).startswith("<time")
