"""Who vouches for whom: whoever made an account or knows its password could be who acts by it.

And so in turn: whose account ben made, for him ada vouches too where she made ben's. The OS user is
counted where he made something himself: he made the first account of all, so that in turn he would
stand behind everybody, and he holds the file in which all of this is written anyhow.
"""

from collections.abc import Iterable, Mapping

from sqlalchemy import select
from sqlalchemy.orm import Session

from registry.decision_models import AccountRow
from registry.people import OWNER

Givers = Mapping[str, tuple[str, ...]]
"""Account -> who made it, and who set its password."""


def givers_of(session: Session) -> Givers:
    """Who gave each account what it acts by."""
    found = session.execute(select(AccountRow.name, AccountRow.made_by, AccountRow.password_by))
    return {name: tuple(each for each in by if each is not None) for name, *by in found}


def vouchers(givers: Givers, name: str, first: Iterable[str | None]) -> tuple[str, ...]:
    """Who vouches for an account, the nearest first, by whatever `first` gave it.

    >>> givers = {"ada": ("os:root",), "ben": ("ada", "ben"), "eve": ("ben",)}
    >>> vouchers(givers, "eve", givers["eve"]), vouchers(givers, "ada", givers["ada"])
    (('ben', 'ada'), ('os:root',))
    """
    found = list(dict.fromkeys(each for each in first if each is not None))
    for each in found:  # grows as we look
        in_turn = (giver for giver in givers.get(each, ()) if not giver.startswith(OWNER))
        found.extend(giver for giver in in_turn if giver not in found)
    return tuple(each for each in found if each != name)
