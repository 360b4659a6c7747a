import csv
import gzip
import hashlib
import json
import os
from datetime import date
from pathlib import Path

import pytest

from lori_core.config import DataSource
from lori_core.errors import BadInput
from lori_core.rows import (
    canonical_jsonl,
    read_rows,
    row_places,
    rows_digest,
    snapshot_rows,
    source_name,
)

ROWS: list[dict[str, object]] = [
    {"id": "a", "instruction": "Say ü", "target": "ü\u2028"},
    {"id": "b", "instruction": "2 + 2", "target": "4", "meta": {"n": [1, 2.5, None, True]}},
]


def file_of(folder: Path, name: str, data: str | bytes) -> DataSource:
    path = folder / name
    path.write_bytes(data.encode() if isinstance(data, str) else data)
    return DataSource(path=str(path))


def refusal(source: DataSource) -> str:
    with pytest.raises(BadInput) as caught:
        read_rows(source)
    message = str(caught.value)
    assert "\n" not in message
    return message


# The forms


def test_json_lines_come_back_as_they_were_written(tmp_path: Path) -> None:
    text = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in ROWS)
    for name, data in {
        "r.jsonl": text.encode(),
        "r.jsonl.gz": gzip.compress(text.encode()),
        "crlf.jsonl": text.encode().replace(b"\n", b"\r\n"),
        "bom.jsonl": b"\xef\xbb\xbf" + text.encode(),
        "no-end.jsonl": text.rstrip("\n").encode(),
        "blank-end.jsonl": text.encode() + b"\n  \n",
    }.items():
        assert read_rows(file_of(tmp_path, name, data)) == ROWS, name


def test_csv_is_read_with_quotes_and_line_breaks_within_fields(tmp_path: Path) -> None:
    rows = [{"id": "1", "q": 'a "b", c', "a": "x\ny"}, {"id": "2", "q": "", "a": "ü"}]
    with (tmp_path / "r.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, ["id", "q", "a"])
        writer.writeheader()
        writer.writerows(rows)
    assert read_rows(DataSource(path=str(tmp_path / "r.csv"))) == rows


def test_parquet_is_read_as_plain_data(tmp_path: Path) -> None:
    import pyarrow
    import pyarrow.parquet

    table = pyarrow.table(
        {
            "q": ["a", "b"],
            "choices": [["x", "y"], ["z", "w"]],
            "score": [1.5, float("nan")],
            "day": [date(2020, 1, 2), None],
            "meta": [{"n": 1}, {"n": None}],
        }
    )
    pyarrow.parquet.write_table(table, tmp_path / "r.parquet")
    assert read_rows(DataSource(path=str(tmp_path / "r.parquet"))) == [
        {
            "id": "row-000001",
            "q": "a",
            "choices": ["x", "y"],
            "score": 1.5,
            "day": "2020-01-02",
            "meta": {"n": 1},
        },
        {
            "id": "row-000002",
            "q": "b",
            "choices": ["z", "w"],
            "score": None,
            "day": None,
            "meta": {"n": None},
        },
    ]


def test_a_column_of_bytes_is_no_text(tmp_path: Path) -> None:
    import pyarrow
    import pyarrow.parquet

    pyarrow.parquet.write_table(pyarrow.table({"image": [b"\x00"]}), tmp_path / "r.parquet")
    message = refusal(DataSource(path=str(tmp_path / "r.parquet")))
    assert "column `image` holds bytes: expected text, numbers, lists and mappings." in message


@pytest.mark.slow
def test_a_data_set_is_read_through_the_datasets_library(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import datasets

    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", str(tmp_path / "cache"))
    (tmp_path / "set").mkdir()
    file_of(tmp_path / "set", "train.jsonl", '{"q": "a"}\n{"q": "b"}\n{"q": "c"}\n')
    source = DataSource(dataset=str(tmp_path / "set"), split="train", limit=2)
    assert read_rows(source) == [{"id": "row-000001", "q": "a"}, {"id": "row-000002", "q": "b"}]
    message = refusal(DataSource(dataset=str(tmp_path / "set"), split="tset"))
    assert "set tset: " in message
    assert "expected a data set on the hub or in the cache" in message


@pytest.mark.slow
def test_a_data_set_that_is_nowhere_is_one_line(tmp_path: Path) -> None:
    message = refusal(DataSource(dataset=str(tmp_path / "gone"), split="train"))
    assert message.startswith(f"dataset {tmp_path / 'gone'} train: ")


# Ids and limits


def test_rows_without_an_id_get_one_from_their_number(tmp_path: Path) -> None:
    source = file_of(tmp_path, "r.jsonl", '{"q": 1}\n{"id": 7, "q": 2}\n{"id": null, "q": 3}\n')
    assert [row["id"] for row in read_rows(source)] == ["row-000001", "7", "row-000003"]


@pytest.mark.parametrize("given", ["true", "[1]", '""', "1.5"])
def test_an_id_is_text_or_a_whole_number(given: str, tmp_path: Path) -> None:
    message = refusal(file_of(tmp_path, "r.jsonl", f'{{"q": 0}}\n{{"id": {given}}}\n'))
    assert "r.jsonl line 2: id " in message


def test_two_rows_with_one_id_name_both_lines(tmp_path: Path) -> None:
    message = refusal(file_of(tmp_path, "r.jsonl", '{"id": "x"}\n{"id": "y"}\n{"id": "x"}\n'))
    assert "r.jsonl line 3: id 'x' was given on line 1: expected an id of its own" in message


def test_a_limit_takes_the_first_rows_and_reads_no_further(tmp_path: Path) -> None:
    source = file_of(tmp_path, "r.jsonl", '{"q": 1}\n{"q": 2}\nbroken')
    assert len(read_rows(DataSource(path=source.path, limit=2))) == 2


# Damage


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ("", "r.jsonl is empty: expected at least one row."),
        ("\n\n", "r.jsonl is empty"),
        ('{"a": 1}\n\n{"a": 2}\n', "r.jsonl line 2 is empty: expected one JSON object on every"),
        ('{"a": 1}\n{"a": "tor', "r.jsonl line 2: Unterminated string starting at character 7 "),
        ('{"a": 1}\n{"a": "tor', "(the last line is cut off): expected one whole JSON object."),
        ('{"a": 1}\n{"a": 2', "line 2: Expecting ',' delimiter at character 8 (the last line is"),
        ('{"a" 1}\n{"a": 2}\n', "line 1: Expecting ':' delimiter at character 6: expected"),
        ('{"a": 1}\n[1]\n', "line 2 holds a list: expected one JSON object. Put it in {...}."),
        ('"text"\n', "line 1 holds text"),
        ("17\n", "line 1 holds a number"),
        ("null\n", "line 1 holds null"),
        ('{"a": NaN}\n', "line 1: NaN is not JSON"),
        ('{"a": 1, "a": 2}\n', "line 1: key 'a' appears twice"),
        ('{"a": "\\ud800"}\n', "line 1: half a surrogate pair"),
        (b'{"a": 1}\n{"a": "\xff"}\n', "line 2: byte 0xff at 8 is not UTF-8: expected UTF-8 text"),
        ("[" * 100_000 + "\n", "line 1: nested too deeply"),
        ('{"a": ' + "9" * 5000 + "}\n", "line 1: Exceeds the limit"),
    ],
)
def test_damaged_json_lines_name_the_line(data: str | bytes, message: str, tmp_path: Path) -> None:
    assert message in refusal(file_of(tmp_path, "r.jsonl", data))


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ("", "r.csv is empty"),
        ("a,b\n", "r.csv is empty"),
        ("a,a\n1,2\n", "r.csv line 1: columns a, a: expected a header of different names"),
        ("a,\n1,2\n", "r.csv line 1: columns a, : expected"),
        ("a,b\n1,2\n3\n", "r.csv line 3: 1 fields: expected 2, one for each column"),
        ('a,b\n1,"2\n', "r.csv line 2: unexpected end of data"),
        (b"a,b\n1,\xe9\n", "r.csv line 2: byte 0xe9 is not UTF-8"),
    ],
)
def test_damaged_csv_names_the_line(data: str | bytes, message: str, tmp_path: Path) -> None:
    assert message in refusal(file_of(tmp_path, "r.csv", data))


@pytest.mark.parametrize(
    "data",
    [
        b"not gzip at all",
        gzip.compress(b'{"a": 1}\n' * 99, mtime=0)[:-12],
        b"\x1f\x8b\x08\x00broken",
    ],
)
def test_damaged_gzip_is_named(data: bytes, tmp_path: Path) -> None:
    message = refusal(file_of(tmp_path, "r.jsonl.gz", data))
    assert "r.jsonl.gz: not whole gzip (" in message


def test_a_file_that_is_no_parquet_is_named(tmp_path: Path) -> None:
    assert "r.parquet: " in refusal(file_of(tmp_path, "r.parquet", b"PAR0" * 10))


@pytest.mark.parametrize("number", ["1e999", "-1e999"])
def test_a_number_that_no_float_holds_names_the_line(number: str, tmp_path: Path) -> None:
    source = file_of(tmp_path, "r.jsonl", f'{{"x": 1e308}}\n{{"x": [{number}]}}\n')
    assert refusal(source).startswith(f"{source.path} line 2: {number} is too large a number")


def test_parquet_text_that_is_not_utf8_is_named(tmp_path: Path) -> None:
    import pyarrow
    import pyarrow.parquet

    column = pyarrow.array([b"fine", b"no \xff"], pyarrow.binary()).view(pyarrow.string())
    file = tmp_path / "r.parquet"
    pyarrow.parquet.write_table(pyarrow.table({"text": column}), file)
    message = refusal(DataSource(path=str(file)))
    assert message.startswith(f"{file}: a text holds byte 0xff, which is not UTF-8: expected UTF-8")


def test_a_file_that_is_not_there_and_a_folder_are_told_apart(tmp_path: Path) -> None:
    message = refusal(DataSource(path=str(tmp_path / "gone.jsonl")))
    assert message.endswith("gone.jsonl: no such file: expected a file of rows. Check the path.")
    for name in ("d.jsonl", "d.csv", "d.jsonl.gz", "d.parquet"):
        (tmp_path / name).mkdir()
        assert f"{name} is a folder" in refusal(DataSource(path=str(tmp_path / name)))
    beneath = file_of(tmp_path, "file", "")
    message = refusal(DataSource(path=f"{beneath.path}/r.jsonl"))
    assert "r.jsonl cannot be read (Not a directory)" in message


def test_an_ending_we_do_not_know_is_refused(tmp_path: Path) -> None:
    assert "rows.txt: expected a file ending in .jsonl" in refusal(DataSource(path="rows.txt"))


# Snapshots


def test_a_snapshot_is_the_same_bytes_whatever_form_the_rows_came_in(tmp_path: Path) -> None:
    shuffled = [dict(reversed(row.items())) for row in ROWS]
    digest = snapshot_rows(ROWS, tmp_path / "one.jsonl")
    assert snapshot_rows(shuffled, tmp_path / "two.jsonl") == digest == rows_digest(ROWS)
    written = (tmp_path / "one.jsonl").read_bytes()
    assert written == (tmp_path / "two.jsonl").read_bytes() == canonical_jsonl(ROWS)
    assert hashlib.sha256(written).hexdigest() == digest
    assert read_rows(DataSource(path=str(tmp_path / "one.jsonl"))) == ROWS


def test_a_snapshot_of_other_rows_has_another_digest() -> None:
    assert rows_digest(ROWS) != rows_digest(ROWS[::-1]) != rows_digest(ROWS[:1])


def test_rows_say_where_they_stand() -> None:
    lines = row_places(DataSource(path="/d/r.jsonl.gz"), 2)
    assert list(lines) == ["/d/r.jsonl.gz line 1", "/d/r.jsonl.gz line 2"]
    source = DataSource(dataset="openai/gsm8k", name="main", split="test")
    assert list(row_places(source, 1)) == ["openai/gsm8k main test row 1"]
    assert source_name(source) == "openai/gsm8k main test"


@pytest.mark.data
def test_every_file_of_the_data_pack_is_read() -> None:
    if "LORI_DATA" not in os.environ:
        pytest.skip("LORI_DATA is not set")
    folder = Path(os.environ["LORI_DATA"])
    manifest = json.loads((folder / "manifest.json").read_text())
    known = {entry["file"]: entry["rows"] for entry in manifest}
    for path, rows in known.items():
        read = read_rows(DataSource(path=str(folder / path)))
        assert len(read) == rows, path
