"""What serves, on whose word, on which evidence; and the forms by which that is decided.

A form that is refused answers with the page it stands on: the one line beside it, and what was typed.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Annotated, Literal

from fastapi import APIRouter, Query, Request
from starlette.concurrency import run_in_threadpool
from starlette.responses import Response, StreamingResponse

from dashboard.downloads import pieces
from dashboard.forms import Field, refuse_elsewhere
from dashboard.office import RowNumber, VersionNumber
from dashboard.once import and_forget, lead_to, told_once
from dashboard.pages.promotion_fields import (
    parse_alias,
    parse_expected,
    parse_moment,
    parse_version,
)
from dashboard.pages.shown import show
from dashboard.pages.version import TheDownloads
from dashboard.refusals import status_of
from dashboard.visitors import PageRegistry, PageSequence, Posting, PostingDesk, Viewing, Visitor
from lori_core.errors import BadInput, CheckFailed
from registry.decisions import BARE_BASE, Alias
from registry.desk import Desk
from registry.falling import Falling, falling
from registry.gating import policy_of
from registry.gating.rules import FAMILIES
from registry.plain import LARGEST, one_line
from registry.promotion_view import PromotionView, promotion_view, sequence_of
from registry.roles import Action, allow, may, promotes_as
from registry.store import Registry
from registry.timeline import Shown

router = APIRouter(include_in_schema=False)

FormName = Literal["promote", "rollback", "gate", "freeze", "thaw", "answer", "at"]
"""A form of the page; `answer` is that of a waiting request."""

Page = Annotated[int, Query(ge=1, le=LARGEST)]
Number = Annotated[int | None, Query(ge=1, le=LARGEST)]

TOLD: Mapping[str, str] = {
    "promoted": "Done. It serves, and the log tells who decided it and why.",
    "candidate": "Done. It is the candidate; what serves is what served.",
    "requested": "Asked for. It waits for a second person, and serves nothing until then.",
    "approved": "Approved and applied.",
    "rejected": "Turned down. What serves is what served.",
    "rolled-back": "Rolled back.",
    "judged": "Judged. The report below is recorded.",
    "frozen": "Frozen: nothing is promoted until then. A rollback still works.",
    "thawed": "The freeze is over.",
}
"""Word of a form -> what it just did; the page tells it once (`dashboard.once`), and no address can."""

ACTIONS: tuple[Action, ...] = (
    "promote",
    "nominate",
    "rollback",
    "gate",
    "freeze",
    "thaw",
    "reject",
)

_LONGEST_LINE = 20_000
"""Of a refusal, which names every rule."""

_GATE = re.compile(r"gate: (?P<version>\S+) is refused: (?P<rules>.+)")
_NEXT_RULE = re.compile(rf"; (?=(?:{'|'.join(FAMILIES)})(?::[^\s:;]+)*: )")
"""Where the next rule begins in the one line of a refusal; a rule's own sentence may hold a `;`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Refused:
    """Why a form was not done."""

    form: FormName
    line: str
    moved: bool = False
    """Whether what serves has moved since the person looked."""
    promotion: int | None = None
    """The waiting request it was about."""
    ended: bool = False
    """Whether the refusal ended that request."""

    @property
    def rules(self) -> tuple[tuple[str, str], ...]:
        """Each rule that refused and why, where it was the gate."""
        found = _GATE.fullmatch(self.line)
        if found is None:
            return ()
        told = (each.partition(": ") for each in _NEXT_RULE.split(found["rules"]))
        return tuple((rule, why) for rule, _, why in told)

    @property
    def short(self) -> str:
        """The line without the rules."""
        found = _GATE.fullmatch(self.line)
        return self.line if found is None else f"The gate refuses {found['version']}."


@dataclass(frozen=True, slots=True, kw_only=True)
class PromotionsPage:
    """What the page shows."""

    view: PromotionView
    falling: Falling
    """Tasks that serve now and would not if the version that is looked at served."""
    why_not: Mapping[str, str | None]
    """Action -> why the visitor may not; None: he may."""
    asks_only: bool
    """His request waits for another: he may ask, and not promote."""
    told: str | None = None
    refused: Refused | None = None
    typed: Mapping[str, str] = field(default_factory=dict)
    """What was typed into the form that was refused."""
    at: str = ""
    """The time that was asked about, as it was typed."""

    def kept(self, form: FormName, name: str, promotion: int | None = None) -> str:
        """What was typed into a field, where its form was refused."""
        refused = self.refused
        mine = refused is not None and (refused.form, refused.promotion) == (form, promotion)
        return self.typed.get(name, "") if mine else ""

    @property
    def gone(self) -> bool:
        """Whether the form that was refused is on the page no more: what was typed is told alone."""
        view, why_not = self.view, self.why_not
        match self.refused:
            case Refused(form="answer", promotion=asked):
                return all(each.promotion.id != asked for each in view.waiting)
            case Refused(form="promote"):
                barred = why_not["promote"] is not None and why_not["nominate"] is not None
                return barred or view.judged in {None, view.champion.version}
            case Refused(form="rollback"):
                return why_not["rollback"] is not None or view.champion.version is None
            case Refused(form="freeze"):
                return why_not["freeze"] is not None or view.frozen is not None
            case Refused(form="thaw"):
                return why_not["thaw"] is not None or view.frozen is None
            case _:
                return False

    def line(self, form: FormName, promotion: int | None = None) -> str | None:
        """Why a form was refused."""
        refused = self.refused
        mine = refused is not None and (refused.form, refused.promotion) == (form, promotion)
        return refused.line if mine and refused is not None else None


@router.get("/sequences/{sequence}/promotions")
def promotions(
    request: Request,
    visitor: Viewing,
    registry: PageRegistry,
    sequence: PageSequence,
    version: Number = None,
    report: Number = None,
    at: Annotated[str, Query(max_length=64)] = "",
    only: Shown = "all",
    page: Page = 1,
    rules: Page = 1,
    tasks: Page = 1,
) -> Response:
    """Show what serves, what might, and how it came to be so."""
    then, refused = None, None
    try:
        then = parse_moment(at) if at.strip() else None
    except BadInput as error:
        refused = Refused(form="at", line=one_line(str(error)))
    view = promotion_view(
        registry,
        sequence,
        visitor.actor,
        version=version,
        report=report,
        at=then,
        shown=only,
        page=page,
        rules=rules,
        tasks=tasks,
    )
    told = told_once(request, TOLD)
    shown = _shown(request, visitor, registry, view, told=told, refused=refused, at=at)
    return shown if told is None else and_forget(request, shown)


@router.get("/sequences/{sequence}/versions/{version}/evidence.zip")
async def evidence(
    request: Request,
    visitor: Viewing,
    registry: PageRegistry,
    sequence: PageSequence,
    version: VersionNumber,
    downloads: TheDownloads,
) -> Response:
    """Everything recorded about a version, as data and as a page, signed: what `lori evidence` writes."""
    refuse_elsewhere(request)
    await run_in_threadpool(registry.version, sequence, version)
    asked_by = visitor.actor.name if visitor.signed_in else "nobody signed in"
    packed = await downloads.evidence_zip(sequence, version, asked_by)
    return StreamingResponse(
        pieces(packed),
        media_type="application/zip",
        headers={
            "content-disposition": f'attachment; filename="evidence-{sequence}-{version}.zip"',
            "content-length": str(packed.size),
        },
    )


@router.post("/sequences/{sequence}/promote")
def promote(
    request: Request,
    visitor: Posting,
    sequence: PageSequence,
    desk: PostingDesk,
    version: Field = "",
    to: Field = "champion",
    reason: Field = "",
    expect: Field = "",
    expect_candidate: Field = "",
) -> Response:
    """Ask that a version serve, against the champion that the person saw."""

    def decide() -> str:
        alias = parse_alias(to)
        _refuse_role(visitor, desk, sequence, alias)
        seen = parse_expected(expect if alias == "champion" else expect_candidate)
        number = parse_version(version)
        made = desk.promote(sequence, number, reason=reason, to=alias, expect=seen)
        if made.status == "requested":
            return "requested"
        return "promoted" if alias == "champion" else "candidate"

    return _decided(
        request, visitor, desk.registry, sequence, "promote", decide,
        {"version": version, "reason": reason},
    )  # fmt: skip


@router.post("/sequences/{sequence}/rollback")
def rollback(
    request: Request,
    visitor: Posting,
    sequence: PageSequence,
    desk: PostingDesk,
    to_version: Field = "previous",
    reason: Field = "",
    expect: Field = "",
) -> Response:
    """Go back: to the champion before (`previous`), an earlier one, or the bare base (0)."""

    def decide() -> str:
        allow(visitor.actor, "rollback")
        target = None if to_version == "previous" else parse_version(to_version, least=BARE_BASE)
        seen = parse_expected(expect)
        desk.rollback(sequence, reason=reason, to_version=target, expect=seen)
        return "rolled-back"

    return _decided(
        request, visitor, desk.registry, sequence, "rollback", decide,
        {"to_version": to_version, "reason": reason},
    )  # fmt: skip


@router.post("/sequences/{sequence}/gate")
def gate(
    request: Request,
    visitor: Posting,
    sequence: PageSequence,
    desk: PostingDesk,
    version: Field = "",
) -> Response:
    """Judge a version now and record the report."""

    def decide() -> str:
        allow(visitor.actor, "gate")
        desk.gate(sequence, parse_version(version))
        return "judged"

    typed = {"version": version}
    return _decided(
        request, visitor, desk.registry, sequence, "gate", decide, typed, more=f"?version={version}"
    )


@router.post("/sequences/{sequence}/freeze")
def freeze(
    request: Request,
    visitor: Posting,
    sequence: PageSequence,
    desk: PostingDesk,
    until: Field = "",
    reason: Field = "",
) -> Response:
    """Let nothing be promoted until a time."""

    def decide() -> str:
        allow(visitor.actor, "freeze")  # before anything is said of what was typed
        desk.freeze(sequence, parse_moment(until), reason)
        return "frozen"

    typed = {"until": until, "reason": reason}
    return _decided(request, visitor, desk.registry, sequence, "freeze", decide, typed)


@router.post("/sequences/{sequence}/thaw")
def thaw(
    request: Request,
    visitor: Posting,
    sequence: PageSequence,
    desk: PostingDesk,
    reason: Field = "",
) -> Response:
    """End a freeze."""

    def decide() -> str:
        desk.thaw(sequence, reason)
        return "thawed"

    return _decided(request, visitor, desk.registry, sequence, "thaw", decide, {"reason": reason})


@router.post("/promotions/{promotion}/approve")
def approve(
    request: Request,
    visitor: Posting,
    promotion: RowNumber,
    desk: PostingDesk,
    reason: Field = "",
) -> Response:
    """Approve another person's request, which applies it."""

    def decide() -> str:
        desk.approve(promotion, reason=reason)
        return "approved"

    sequence = sequence_of(desk.registry, promotion)
    typed = {"reason": reason}
    return _decided(
        request, visitor, desk.registry, sequence, "answer", decide, typed, promotion=promotion
    )


@router.post("/promotions/{promotion}/reject")
def reject(
    request: Request,
    visitor: Posting,
    promotion: RowNumber,
    desk: PostingDesk,
    reason: Field = "",
) -> Response:
    """Turn a request down; who asked may withdraw it."""

    def decide() -> str:
        desk.reject(promotion, reason=reason)
        return "rejected"

    sequence = sequence_of(desk.registry, promotion)
    typed = {"reason": reason}
    return _decided(
        request, visitor, desk.registry, sequence, "answer", decide, typed, promotion=promotion
    )


def why_not(visitor: Visitor, action: Action) -> str | None:
    """Why a visitor may not do something; None: he may."""
    if not visitor.signed_in:
        return "Sign in first: nobody in particular may read, and decide nothing."
    try:
        allow(visitor.actor, action)
    except CheckFailed as refusal:
        return f"{refusal.finding}."
    return None


def _decided(
    request: Request,
    visitor: Visitor,
    registry: Registry,
    sequence: str,
    form: FormName,
    decide: Callable[[], str],
    typed: Mapping[str, str],
    *,
    promotion: int | None = None,
    more: str = "",
) -> Response:
    """Do what a form asks and go back to the page; refused, the page with the one line."""
    place = f"/sequences/{sequence}/promotions"
    desk = Desk(registry, visitor.actor)
    waited = promotion is not None and _waits(desk, sequence, promotion)
    try:
        code = decide()
    except (BadInput, CheckFailed) as refusal:
        moved = isinstance(refusal, CheckFailed) and refusal.finding.startswith("moved:")
        refused = Refused(
            form=form,
            line=one_line(str(refusal), longest=_LONGEST_LINE),
            moved=moved,
            promotion=promotion,
            ended=waited and promotion is not None and not _waits(desk, sequence, promotion),
        )
        view = _view_about(registry, sequence, visitor, typed.get("version", ""))
        return _shown(
            request,
            visitor,
            registry,
            view,
            refused=refused,
            typed=typed,
            status=status_of(refusal),
            here=place,
        )
    return lead_to(request, place, code, rest=more)


def _waits(desk: Desk, sequence: str, promotion: int) -> bool:
    return any(each.id == promotion for each in desk.pending(sequence))


def _view_about(registry: Registry, sequence: str, visitor: Visitor, version: str) -> PromotionView:
    """The page about the version of a refused form; where it is none, about the usual one."""
    try:
        return promotion_view(registry, sequence, visitor.actor, version=parse_version(version))
    except BadInput:
        return promotion_view(registry, sequence, visitor.actor)


def _shown(
    request: Request,
    visitor: Visitor,
    registry: Registry,
    view: PromotionView,
    *,
    told: str | None = None,
    refused: Refused | None = None,
    typed: Mapping[str, str] | None = None,
    at: str = "",
    status: int | None = None,
    here: str | None = None,
) -> Response:
    reasons: dict[str, str | None] = {each: why_not(visitor, each) for each in ACTIONS}
    asks_only = reasons["promote"] is not None and view.policy.approval and visitor.may("request")
    page = PromotionsPage(
        view=view,
        falling=falling(
            registry, view.sequence, view.judged, view.champion.version, view.policy.read
        ),
        why_not={**reasons, "promote": None if asks_only else reasons["promote"]},
        asks_only=asks_only,
        told=told,
        refused=refused,
        typed=typed or {},
        at=at,
    )
    if status is None:
        status = 200 if refused is None else 400
    return show(
        request,
        visitor,
        "promotions.html",
        page,
        title=f"Promotions of {view.sequence}",
        status=status,
        here=here,
        sequence=view.sequence,
    )


def _refuse_role(visitor: Visitor, desk: Desk, sequence: str, alias: Alias) -> None:
    """Say that a role may not before anything is said of what was typed, as the desk will."""
    asks = may(visitor.actor, "request") and policy_of(desk.registry, sequence).approval
    if alias != "champion" or not asks:
        allow(visitor.actor, promotes_as(alias))
