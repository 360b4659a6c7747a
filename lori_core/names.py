"""Names of sequences and tasks: safe in a path, a URL, a database and a shell."""

import re

from lori_core.errors import BadInput

NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")
"""What a name may be, whole."""


def check_name(kind: str, value: object) -> str:
    """Return `value` if it can name a `kind` ("sequence", "task").

    Args:
        kind: what is being named; opens the message.
        value: what the user wrote, of any type.

    Raises:
        BadInput: it is not text or does not match `[a-z0-9][a-z0-9._-]{0,63}`; a name that would
            do is offered when one can be made from it.

    >>> check_name("task", "gsm8k-v2")
    'gsm8k-v2'
    """
    if isinstance(value, str) and NAME.fullmatch(value):
        return value
    offered = _nearest_name(str(value))
    raise BadInput(
        f"{kind} name {value!r}",
        "1 to 64 of a-z, 0-9, dot, underscore and dash, a letter or digit first",
        f"Try `{offered}`." if offered else "Choose another name.",
    )


def _nearest_name(text: str) -> str:
    words = re.sub(r"[^a-z0-9._-]+", "-", text.casefold()).strip("._-")
    return words[:64] if NAME.fullmatch(words[:64]) else ""
