"""What a request may hold: every key known, every text printable, every number one a column holds."""

import json
from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field

from lori_core.config import Read
from lori_core.errors import BadInput
from lori_core.names import check_name
from registry.decisions import Expect, Role
from registry.plain import LARGEST, aware_time, plain_text, whole_number


def _reason(value: str) -> str:
    return plain_text("reason", value)


def _name(value: str) -> str:
    return check_name("this", value)


def _short(value: str) -> str:
    return plain_text("this", value, longest=200)


def _time(value: object) -> datetime:
    if not isinstance(value, str):
        raise BadInput("this", "a time as ISO 8601 text")
    try:
        return aware_time("time", datetime.fromisoformat(value))
    except BadInput:
        raise
    except ValueError as error:
        raise BadInput("this", "a time as ISO 8601 text, like 2026-01-31T12:00:00Z") from error


def _storable(value: dict[str, Any]) -> dict[str, Any]:
    text = json.dumps(value, ensure_ascii=False)
    if "\\u0000" in text or any(0xD800 <= ord(each) <= 0xDFFF for each in text):
        raise BadInput("document with a character that is none", "text that every store can hold")
    return value


def _expected(value: Expect) -> Expect:
    return whole_number("the version expected", value) if isinstance(value, int) else value


Reason = Annotated[str, AfterValidator(_reason)]
Name = Annotated[str, AfterValidator(_name)]
Short = Annotated[str, AfterValidator(_short)]
Time = Annotated[datetime, BeforeValidator(_time)]
Number = Annotated[int, Field(ge=0, le=LARGEST)]
Expected = Annotated[Expect, AfterValidator(_expected)]
Digest = Annotated[str, Field(pattern="^[0-9a-f]{64}$")]


class Body(BaseModel):
    """What all bodies share: nothing unknown, nothing converted."""

    model_config = ConfigDict(strict=True, extra="forbid")


class GateBody(Body):
    """Which version to judge."""

    version: Number | None = None


class PromoteBody(Body):
    """A version that should serve."""

    version: Number | None = None
    reason: Reason
    to: Literal["candidate", "champion"] = "champion"
    expect: Expected = None


class ReasonBody(Body):
    """Why."""

    reason: Reason


class RollbackBody(Body):
    """Where to go back to."""

    reason: Reason
    to_version: Number | None = None
    expect: Expected = None


class FreezeBody(Body):
    """How long nothing is promoted."""

    until: Time
    reason: Reason


class WaiverBody(Body):
    """Which rule of which version to set aside."""

    version: Number
    rule: Short
    reason: Reason
    expires: Time


class RetireBody(Body):
    """Which task leaves service."""

    task: Name
    reason: Reason


class ConfirmBody(Body):
    """What a server loaded."""

    version: Number
    task: Name
    read: Read
    digest: Digest
    host: Short
    loaded_at: Time


class AccountBody(Body):
    """A new account."""

    name: Name
    role: Role


class RoleBody(Body):
    """Another role."""

    role: Role


class PasswordBody(Body):
    """A password to sign in with."""

    password: Annotated[str, Field(max_length=1024)]
    current: Annotated[str, Field(max_length=1024)] | None = None
    """The one until now, where it is one's own."""


class RowsBody(Body):
    """Whose rows, for whom; without a task those of every task of the sequence."""

    account: Annotated[str, Field(max_length=200)]
    sequence: Name
    task: Name | None = None


class HideBody(Body):
    """Whose rows nobody sees."""

    sequence: Name
    task: Name
    reason: Reason


class UnhideBody(Body):
    """Whose rows are seen again."""

    sequence: Name
    task: Name


class TokenBody(Body):
    """A new token."""

    label: Short
    expires: Time | None = None


class SubmissionBody(Body):
    """What is to be learned: the keys of a sequence file, or of a task file."""

    document: Annotated[dict[str, Any], AfterValidator(_storable)]
    folder: Annotated[str, Field(max_length=4096)] | None = None
    priority: Annotated[int, Field(ge=-LARGEST, le=LARGEST)] = 0
    again: bool = False


class WebhookBody(Body):
    """Whom to tell of what."""

    name: Name
    url: Annotated[str, Field(max_length=2048)]
    kinds: list[Annotated[str, Field(max_length=64)]] = Field(default=[], max_length=64)
    secret: Annotated[str, Field(max_length=256)] | None = None
