"""Records as JSON and back, for the API and who asks it: keys are the fields, times ISO 8601.

What comes back is checked against the record's types; fields that only a newer side knows are let be.
"""

from functools import cache
from typing import Any, TypeVar, cast

from pydantic import TypeAdapter, ValidationError

T = TypeVar("T")

API = 1
"""Version of the API, in the header of every answer; it goes up when an old client cannot go on."""

API_HEADER = "x-lori-api"


class Unreadable(ValueError):
    """JSON that is not of the type it should be."""


def to_json(kind: type[T], value: T) -> object:
    """A record (or a tuple or mapping of them) as JSON data.

    >>> from registry.decisions import BARE_BASE, Freeze
    >>> to_json(tuple[int, ...], (BARE_BASE, 1))
    [0, 1]
    """
    return _adapter(kind).dump_python(value, mode="json")


def from_json(kind: type[T], body: bytes) -> T:
    """The record that JSON text holds.

    Raises:
        Unreadable: it holds something else; says where, in one line.
    """
    try:
        return cast(T, _adapter(kind).validate_json(body, strict=True))
    except ValidationError as error:
        raise Unreadable(first_fault(error)) from error


def first_fault(error: ValidationError) -> str:
    """`versions.0.task: Input should be a valid string`."""
    fault = error.errors(include_url=False, include_context=False, include_input=False)[0]
    return ": ".join(
        part for part in (".".join(str(key) for key in fault["loc"]), fault["msg"]) if part
    )


def _adapter(kind: Any) -> TypeAdapter[Any]:
    return _made(kind)


@cache
def _made(kind: Any) -> TypeAdapter[Any]:
    return TypeAdapter(kind)
