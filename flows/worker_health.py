"""Is the worker of this host at work? Exit 0 where Prefect's server hears from one, else 1.

`python -m flows.worker_health` is the health check of the worker's container: it asks the server
of PREFECT_API_URL with the standard library alone, because it runs every half minute.
"""

import http.client
import json
import os
import socket
import sys
import urllib.error
import urllib.request
from base64 import b64encode
from typing import Any

from flows.pools import POOL

SECONDS = 10.0

NO_ANSWER = (urllib.error.URLError, OSError, ValueError, http.client.HTTPException)
"""Also half an answer, of a server that was killed while it gave one."""


def healthy(host: str) -> bool:
    """Whether a worker whose name begins with `host` told Prefect lately that it is there."""
    found = online(os.environ["PREFECT_API_URL"], urllib.request.build_opener(), SECONDS)
    return any(each["name"].startswith(f"{host}-") for each in found)


def online(api: str, opener: urllib.request.OpenerDirector, seconds: float) -> list[dict[str, Any]]:
    """The workers of our pool that Prefect counts as there; none where it does not answer.

    Args:
        api: of Prefect's server.
        opener: asks it, through proxies or past them.
        seconds: it is given to answer.
    """
    request = urllib.request.Request(
        f"{api.rstrip('/')}/work_pools/{POOL}/workers/filter",
        data=json.dumps({"workers": {"status": {"any_": ["ONLINE"]}}}).encode(),
        headers={"Content-Type": "application/json", **_authorization()},
    )
    try:
        with opener.open(request, timeout=seconds) as answer:
            found: list[dict[str, Any]] = json.load(answer)
            return found
    except NO_ANSWER:
        return []


def _authorization() -> dict[str, str]:
    """What Prefect's own client would send."""
    if basic := os.environ.get("PREFECT_API_AUTH_STRING"):
        return {"Authorization": f"Basic {b64encode(basic.encode()).decode()}"}
    if key := os.environ.get("PREFECT_API_KEY"):
        return {"Authorization": f"Bearer {key}"}
    return {}


if __name__ == "__main__":
    sys.exit(0 if healthy(socket.gethostname()) else 1)
