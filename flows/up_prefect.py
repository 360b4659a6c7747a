"""Makes Prefect's server have our pool, deployments and automations: `python -m flows.up_prefect`.

A process of its own, so that the supervisor stays small: importing Prefect takes a hundred megabytes.
"""

import sys

from lori_core.errors import LoriError


def main() -> None:
    """Apply everything `lori up` promises to be there; safe to repeat."""
    from flows import pools
    from flows.automations import apply_automations
    from flows.prefect_api import prefect_api

    with prefect_api() as client:
        apply_automations(client, pools.apply(client))


if __name__ == "__main__":
    try:
        main()
    except LoriError as error:
        sys.exit(str(error))
