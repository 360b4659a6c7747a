"""Names of who acts: an account's, the OS user's (`os:NAME`), and who a trusted proxy vouches for."""

import re

from lori_core.errors import BadInput

OWNER = "os:"
"""Before the name of the OS user of the embedded default."""
PROXY = "proxy:"
"""Before the name of somebody a proxy signed in; no account's name can begin so."""

_NAME = re.compile(r"[a-z0-9][a-z0-9._@+-]{0,119}")


def proxied(name: str) -> str:
    """The name that is recorded of whom a proxy calls `name`.

    Upper case is no other person: who asks as `Ann` must not approve as `ann`.

    Raises:
        BadInput: it is no name.

    >>> proxied("Ann@example.org")
    'proxy:ann@example.org'
    """
    lower = name.lower()
    if _NAME.fullmatch(lower) is None:
        raise BadInput(
            "name from the proxy",
            "1 to 120 of a-z, 0-9, dot, underscore, dash, plus and @, a letter or digit first",
        )
    return PROXY + lower


def bare(name: str) -> str:
    """What a person is called whichever way he comes: two ways in make nobody two persons.

    >>> bare("proxy:ann@example.org"), bare("os:ann"), bare("ann")
    ('ann', 'ann', 'ann')
    """
    return name.partition(":")[2].partition("@")[0] if ":" in name else name


def one_person(left: str, right: str) -> bool:
    """Whether two names could be one person's: `ann` and `proxy:ann@example.org` could."""
    return bare(left) == bare(right)
