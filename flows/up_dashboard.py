"""The dashboard as `lori up` starts it: `python -m flows.up_dashboard HOME PORT`.

A home in which nothing was recorded yet is served too, and the token is the supervisor's, so that it
stays the same when the dashboard is started again.
"""

import os
import sys
from pathlib import Path

from lori_core.errors import LoriError

TOKEN_VARIABLE = "LORI_UP_TOKEN"


def main(home: Path, port: int) -> None:
    """Serve until a signal ends it."""
    from dashboard.serve import serve
    from registry.store import open_registry

    token = os.environ.pop(TOKEN_VARIABLE)
    with open_registry(home) as registry:
        serve(registry, port=port, token=token)


if __name__ == "__main__":
    try:
        main(Path(sys.argv[1]), int(sys.argv[2]))
    except LoriError as error:
        sys.exit(str(error))
