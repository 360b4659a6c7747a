import hashlib
import json
import subprocess
import sys
from pathlib import Path

import pytest

from lori_core.digests import (
    canonical_json,
    sha256_bytes,
    sha256_file,
    sha256_json,
    write_atomic,
    write_json,
)
from lori_core.errors import BadInput


def test_bytes_and_file_have_the_digest_sha256_gives_them(tmp_path: Path) -> None:
    data = bytes(range(256)) * 9000  # more than one chunk
    (tmp_path / "f").write_bytes(data)
    assert sha256_file(tmp_path / "f") == sha256_bytes(data) == hashlib.sha256(data).hexdigest()


def test_equal_data_have_one_text_whatever_their_order() -> None:
    assert canonical_json({"b": 1, "a": [1.5, "é"]}) == '{"a":[1.5,"\\u00e9"],"b":1}'
    assert sha256_json({"b": 1, "a": 2}) == sha256_json({"a": 2, "b": 1})
    assert sha256_json([1, 2]) != sha256_json([2, 1])


def test_a_number_json_does_not_have_is_refused() -> None:
    with pytest.raises(ValueError, match="JSON"):
        sha256_json(float("nan"))


def test_a_file_is_replaced_whole_and_nothing_is_left_beside_it(tmp_path: Path) -> None:
    target = tmp_path / "new" / "f.bin"
    write_atomic(target, b"one")
    write_atomic(target, b"two")
    assert target.read_bytes() == b"two"
    assert [p.name for p in target.parent.iterdir()] == ["f.bin"]


def test_json_files_are_sorted_and_end_in_a_newline(tmp_path: Path) -> None:
    write_json(tmp_path / "f.json", {"b": 1, "a": None})
    text = (tmp_path / "f.json").read_text()
    assert text.endswith("}\n")
    assert list(json.loads(text)) == ["a", "b"]


def test_a_place_beneath_a_file_is_bad_input_that_names_the_path(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(BadInput, match=r"file/f\.bin"):
        write_atomic(tmp_path / "file" / "f.bin", b"x")


def test_a_write_that_is_cut_short_leaves_the_old_file_and_no_other(tmp_path: Path) -> None:
    # a file-size limit stops root too; it needs a process of its own
    code = (
        "import resource, signal, sys; from pathlib import Path\n"
        "from lori_core.digests import write_atomic; from lori_core.errors import BadInput\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))\n"
        "try: write_atomic(Path(sys.argv[1]), b'x' * 5000)\n"
        "except BadInput as error: print(error)\n"
    )
    target = tmp_path / "f.bin"
    target.write_bytes(b"old")
    done = subprocess.run(
        [sys.executable, "-c", code, str(target)], capture_output=True, text=True, check=True
    )
    assert "cannot be written" in done.stdout
    assert target.read_bytes() == b"old"
    assert [p.name for p in tmp_path.iterdir()] == ["f.bin"]


def test_it_does_not_import_torch() -> None:
    code = (
        "import sys, lori_core.digests, lori_core.capacity, lori_core.base_folder\n"
        "assert 'torch' not in sys.modules and 'transformers' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
