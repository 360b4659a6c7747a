"""Two versions on the same tasks, as data."""

from typing import Annotated

from fastapi import APIRouter, Query

from dashboard.office import Readable
from lori_core.config import Read
from registry.comparing import Comparison, compare

router = APIRouter(prefix="/api", tags=["compare"])

Name = Annotated[str, Query(min_length=1, max_length=200)]


@router.get("/compare")
def comparison(
    registry: Readable, a: Name, b: Name, read: Annotated[Read | None, Query()] = None
) -> Comparison:
    """Compare b with a (`S`, `S/3` or `S@champion` each), task by task where the test sets are one.

    `read` is the mode both are looked at under; left out, each is under its own.
    """
    return compare(registry, a, b, read)
