"""Is the worker of this host at work? Exit 0 where Prefect's server hears from one, else 1.

`python -m flows.worker_health` is the health check of the worker's container: it asks the server
of PREFECT_API_URL with the standard library alone, because it runs every half minute.
"""

import json
import os
import socket
import sys
import urllib.error
import urllib.request
from base64 import b64encode

from flows.pools import POOL

SECONDS = 10


def healthy(host: str) -> bool:
    """Whether a worker whose name begins with `host` told Prefect lately that it is there."""
    url = os.environ["PREFECT_API_URL"].rstrip("/")
    headers = {"Content-Type": "application/json"}
    if account := os.environ.get("PREFECT_API_AUTH_STRING"):
        headers["Authorization"] = f"Basic {b64encode(account.encode()).decode()}"
    asked = json.dumps({"workers": {"status": {"any_": ["ONLINE"]}}}).encode()
    request = urllib.request.Request(
        f"{url}/work_pools/{POOL}/workers/filter", asked, headers, method="POST"
    )
    try:
        with urllib.request.urlopen(request, timeout=SECONDS) as answer:
            found = json.load(answer)
    except (urllib.error.URLError, OSError):
        return False
    return any(each["name"].startswith(f"{host}-") for each in found)


if __name__ == "__main__":
    sys.exit(0 if healthy(socket.gethostname()) else 1)
