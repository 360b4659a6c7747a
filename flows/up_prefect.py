"""Makes Prefect's server have our pool, deployments and automations: `python -m flows.up_prefect`.

A process of its own, so that the supervisor stays small: importing Prefect takes a hundred megabytes.
"""

import sys

from flows.automations import prepare_server
from lori_core.errors import LoriError

if __name__ == "__main__":
    try:
        prepare_server()
    except LoriError as error:
        sys.exit(str(error))
