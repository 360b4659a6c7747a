"""What strangers may send: every value here must be refused, whatever the key it stands under.

`LORI_HOSTILE` is how many examples there are in all (CI takes 300, `make soak` 2,000).
"""

import os
import unicodedata

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

from lori_core.names import NAME

EXAMPLES = int(os.environ.get("LORI_HOSTILE", "300"))


def share(part: float) -> settings:
    """Settings for a test that takes this part of the examples."""
    return settings(
        max_examples=max(1, round(part * EXAMPLES)),
        deadline=None,
        derandomize=EXAMPLES <= 300,  # CI always tries the same; the soak looks for more
        database=None,
        suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
    )


PATHS = [
    "..", ".", "../..", "../../etc/passwd", "..%2f..%2fetc%2fpasswd", "%2e%2e", "%2e%2e%2f",
    "....//", "..\\..", "/etc/passwd", "//etc", "~root", "C:\\x", "file:///etc/passwd", "a/../b",
    "a/b", "assistant/1", "assistant@champion", "assistant%00", "assistant\x00.db", "con",
    "-rf", "--help", "$(id)", "`id`", "; rm -rf /", "' OR 1=1 --", '"; DROP TABLE versions; --',
    "{{7*7}}", "${jndi:ldap://x}", "<script>alert(1)</script>", "a\nb", "a\r\nX: y", "\x1b[2J",
    "ａｓｓｉｓｔａｎｔ", "аssistant", "assistant\u202e", "ASSISTANT", "assistant ", " assistant",
    "", "a" * 65, "a" * 100_000, "é", "\ud800", "\ufeffassistant", "_x", ".hidden", "*", "?", "#",
]  # fmt: skip

names = st.one_of(
    st.sampled_from([path for path in PATHS if NAME.fullmatch(path) is None]),
    st.text(max_size=80).filter(lambda text: NAME.fullmatch(text) is None),
    st.builds(
        lambda before, bad, after: before + bad + after,
        st.text("abc.-_", max_size=4),
        st.sampled_from(["/", "\\", "\x00", "..", "%", "\n", "@", "A", " ", "\u202e"]),
        st.text("ABC/.", min_size=1, max_size=4),
    ),
)
"""Text that names no sequence, task, account or webhook."""

controls = st.characters(categories=["Cc", "Cs"]).filter(lambda each: each not in "\n\t")
texts = st.one_of(
    st.sampled_from(["", " ", "\n\t", "x" * 2001, "x" * 100_000, "a\u202eb", "\u2066x"]),
    st.builds(
        lambda a, bad, b: f"x{a}{bad}{b}x", st.text(max_size=9), controls, st.text(max_size=9)
    ),
)
"""Text no log should hold."""

others = st.one_of(
    st.none(),
    st.booleans(),
    st.floats(allow_nan=False, allow_infinity=False).filter(lambda each: each % 1 != 0),
    st.lists(st.integers(), max_size=3),
    st.dictionaries(st.text(max_size=5), st.integers(), max_size=3),
)
"""JSON that is neither text nor a whole number."""

nested = st.builds(
    lambda bracket, depth, end: bracket * depth + end,
    st.sampled_from(["[", '{"a":', '[{"a":']),
    st.sampled_from([1, 50, 2_000, 200_000]),
    st.sampled_from(["", "]", "1", "\ud800".encode("utf-8", "replace").decode()]),
)
"""Text that is no JSON, and deeper than a parser likes."""

anything = st.recursive(
    st.one_of(others, st.integers(), st.sampled_from([float("nan"), float("inf"), 10**400]), texts),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=5), inner, max_size=3)
    ),
    max_leaves=5,
)
"""What a JSON document may hold under any key."""

numbers = st.one_of(
    others.filter(lambda each: each is not None),
    st.integers(max_value=-1),
    st.integers(min_value=2**31, max_value=10**40),
    st.text(max_size=10).filter(lambda text: text != "none"),
)
"""What is no version; null means the newest, so it is not here."""

times = st.one_of(
    others,
    st.integers(),
    texts,
    st.sampled_from(
        [
            "now", "2026-01-01", "2026-01-01T00:00:00", "0001-01-01T00:00:00+23:59",
            "9999-12-31T23:59:59-23:59", "2026-02-30T00:00:00Z", "1e400", "2026-W01-1",
        ]
    ),
)  # fmt: skip


def printable(text: str) -> bool:
    """Whether a terminal shows it as it is."""
    return all(unicodedata.category(each) not in {"Cc", "Cs"} for each in text)
