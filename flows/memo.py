"""Digests of files that need not be read again: remembered with the file's size, time and inode.

Saves reading gigabytes before saying that there is nothing to do. `lori verify` never uses it.
"""

import json
from collections.abc import Callable, Sequence
from pathlib import Path

from lori_core.digests import sha256_json, write_json

Facts = dict[str, str]


def remembered(
    home: Path, kind: str, question: object, files: Sequence[Path], ask: Callable[[], Facts]
) -> Facts:
    """The answer to `question` about `files`, from the memo if none of them was touched since.

    Nothing is written where the home does not exist yet.
    """
    known = recall(home, kind, question, files)
    if known is not None:
        return known
    stamps = [_stamp(file) for file in files]  # of before it is asked
    answer = ask()
    if home.is_dir():
        write_json(_memo(home, kind, question), {"stamps": stamps, "answer": answer})
    return answer


def recall(home: Path, kind: str, question: object, files: Sequence[Path]) -> Facts | None:
    """The remembered answer, or None where there is none or a file was touched since."""
    known = _read(_memo(home, kind, question))
    return known[1] if known is not None and known[0] == [_stamp(file) for file in files] else None


def _memo(home: Path, kind: str, question: object) -> Path:
    return home / "memo" / f"{kind}-{sha256_json(question)[:24]}.json"


def _stamp(file: Path) -> list[object]:
    if not file.exists():
        return [str(file), None]
    stat = file.stat()
    return [str(file), stat.st_size, stat.st_mtime_ns, stat.st_ino]


def _read(memo: Path) -> tuple[list[list[object]], Facts] | None:
    try:
        content = json.loads(memo.read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError, json.JSONDecodeError):
        return None
    return content["stamps"], content["answer"]
