"""What is wrong between our rows, MLflow and the files, and mending what can be mended.

Our rows are the truth for who and what; the files are true where their digests are ours; MLflow is
made to fit. Nothing is mended but under the lock that its makers hold, after looking once more.
"""

import stat
from collections.abc import Callable
from dataclasses import replace

from lori_core.errors import CheckFailed, DigestMismatch
from registry.decisions import Finding
from registry.outbox import webhooks
from registry.store import Registry
from registry.triggers import lost_triggers, make_triggers
from registry.troubles import troubles

UNGUARDED = "unguarded-table"

CONSEQUENCES = {"alias-drift", "model-deleted", "model-recreated", "doubled-version"}
"""What mending something else may bring about, and is mended with it."""


def examine(registry: Registry) -> tuple[Finding, ...]:
    """Everything that is wrong; changes nothing.

    Raises:
        Unavailable: the store or MLflow does not answer.
    """
    of_sequences = (
        trouble.finding for name in registry.sequences() for trouble in troubles(registry, name)
    )
    return (*_open_home(registry), *_unguarded(registry), *of_sequences)


def repair(registry: Registry, findings: tuple[Finding, ...]) -> tuple[Finding, ...]:
    """Mend what can be mended of `findings`, and what follows from mending them.

    Returns:
        the findings, `mended` where they are gone; then those that only now came to light.
    """
    sequences = {finding.where.partition("/")[0].partition("@")[0] for finding in findings}
    given = {(finding.what, finding.where) for finding in findings}
    for finding in findings:
        if finding.what == UNGUARDED:
            make_triggers(registry, finding.where)
    for name in registry.sequences():
        if name in sequences:
            _mend(registry, name, given)
    left = {(each.what, each.where): each for each in examine(registry)}
    told = [
        left.pop((each.what, each.where), replace(each, mended=each.mendable)) for each in findings
    ]
    return (*told, *left.values())


def _mend(registry: Registry, name: str, given: set[tuple[str, str]]) -> None:
    """Mend one trouble after the other, looking anew in between: one may be behind another."""
    tried: set[tuple[str, str]] = set()
    while True:
        with registry._database.exclusive(f"file-{name}"):
            for trouble in troubles(registry, name):
                place = trouble.finding.what, trouble.finding.where
                asked = place in given or trouble.finding.what in CONSEQUENCES
                if trouble.mend is None or place in tried or not asked:
                    continue
                tried.add(place)
                mend = trouble.mend
                break
            else:
                return
            if trouble.finding.what not in {"alias-drift", "stuck-promotion"}:
                _tried(mend)
                continue
        _tried(mend)  # these take the lock of promotions first, then that of filing


def _open_home(registry: Registry) -> tuple[Finding, ...]:
    """Whether others on this machine can read the secrets of webhooks."""
    home = registry.settings.home
    mode = stat.S_IMODE(home.stat().st_mode)
    if not (registry.settings.is_own and mode & 0o077 and webhooks(registry)):
        return ()
    return (
        Finding(
            what="open-home",
            where=str(home),
            detail=f"mode {mode:04o} lets others read registry.db, with the secrets of webhooks",
            mendable=False,
            remedy=f"chmod 700 {home}, and give each webhook a new secret if it was so for long.",
        ),
    )


def _unguarded(registry: Registry) -> tuple[Finding, ...]:
    """Tables of decisions whose rows could be changed now."""
    lost: dict[str, list[str]] = {}
    for table, trigger in lost_triggers(registry):
        lost.setdefault(table, []).append(trigger)
    return tuple(
        Finding(
            what=UNGUARDED,
            where=table,
            detail=f"missing, off or changed: {', '.join(triggers)}; rows can be changed unseen",
            mendable=True,
            remedy="--repair makes them again. Ask who took them away: `lori history S --check`"
            " finds what was changed in the log meanwhile.",
        )
        for table, triggers in lost.items()
    )


def _tried(mend: Callable[[], object]) -> None:
    try:
        mend()
    except (CheckFailed, DigestMismatch):
        return  # the next look tells what is still wrong
