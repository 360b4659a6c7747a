"""What is out of the ordinary: freezes, waivers, retirement; and what servers say they loaded."""

from datetime import datetime

from fastapi import APIRouter

from dashboard.bodies import ConfirmBody, FreezeBody, ReasonBody, RetireBody, WaiverBody
from dashboard.office import KnownSequence, ReadingDesk, RowNumber, WritingDesk
from registry.decisions import Confirmation, Freeze, Waiver

router = APIRouter(prefix="/api", tags=["care"])


@router.get("/sequences/{sequence}/freeze")
def frozen(desk: ReadingDesk, sequence: KnownSequence) -> dict[str, Freeze | None]:
    """The freeze in force, or null: `{"frozen": ...}`."""
    return {"frozen": desk.frozen(sequence)}


@router.post("/sequences/{sequence}/freeze")
def freeze(desk: WritingDesk, sequence: KnownSequence, body: FreezeBody) -> Freeze:
    """Let nothing be promoted for a time; a rollback still is."""
    return desk.freeze(sequence, body.until, body.reason)


@router.post("/sequences/{sequence}/thaw")
def thaw(desk: WritingDesk, sequence: KnownSequence, body: ReasonBody) -> dict[str, str]:
    """End a freeze."""
    desk.thaw(sequence, body.reason)
    return {"thawed": sequence}


@router.get("/sequences/{sequence}/waivers")
def waivers(desk: ReadingDesk, sequence: KnownSequence) -> tuple[Waiver, ...]:
    """Every waiver."""
    return desk.waivers(sequence)


@router.post("/sequences/{sequence}/waivers")
def waive(desk: WritingDesk, sequence: KnownSequence, body: WaiverBody) -> Waiver:
    """Ask for one rule of one version to be set aside for a time."""
    return desk.waive(sequence, body.version, body.rule, body.reason, body.expires)


@router.post("/waivers/{waiver}/approve")
def approve_waiver(desk: WritingDesk, waiver: RowNumber, body: ReasonBody) -> Waiver:
    """Put another person's waiver in force."""
    return desk.approve_waiver(waiver, body.reason)


@router.get("/sequences/{sequence}/retired")
def retired(desk: ReadingDesk, sequence: KnownSequence) -> dict[str, datetime]:
    """Tasks out of service, and since when."""
    return dict(desk.retired(sequence))


@router.post("/sequences/{sequence}/retired")
def retire(desk: WritingDesk, sequence: KnownSequence, body: RetireBody) -> dict[str, str]:
    """Take a task out of service."""
    desk.retire(sequence, body.task, body.reason)
    return {"retired": body.task}


@router.get("/sequences/{sequence}/confirmations")
def confirmations(desk: ReadingDesk, sequence: KnownSequence) -> tuple[Confirmation, ...]:
    """What servers said they loaded."""
    return desk.confirmations(sequence)


@router.post("/sequences/{sequence}/confirmations")
def confirm(desk: WritingDesk, sequence: KnownSequence, body: ConfirmBody) -> Confirmation:
    """Say what a server loaded."""
    return desk.confirm(
        sequence, body.version, body.task, body.read, body.digest, body.host, body.loaded_at
    )
