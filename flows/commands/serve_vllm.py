"""`lori serve-vllm S`: bring what is promoted into a running vLLM server, and confirm it."""

import os
import platform
from pathlib import Path

import click


@click.command(name="serve-vllm")
@click.argument("sequence")
@click.option("--vllm", required=True, metavar="URL", help="Its address; VLLM_API_KEY is its key.")
@click.option("--adapters", required=True, type=click.Path(path_type=Path),
              help="One exported folder for each task, which the server can read too.")  # fmt: skip
@click.option("--alias", type=click.Choice(("champion", "candidate")), default="champion",
              show_default=True)  # fmt: skip
@click.option("--host", default=platform.node, help="How the log names the server. Default: here.")
def serve_vllm(sequence: str, vllm: str, adapters: Path, alias: str, host: str) -> None:
    """Load what SEQUENCE serves into a vLLM server, each file checked, and confirm what it loaded.

    Only files that were exported from the version that serves are loaded.
    """
    from flows.desk import at_desk
    from flows.recorded import parse_sequence
    from registry.vllm_client import KEY_VARIABLE, VllmServer, load_promoted

    name = parse_sequence(sequence)
    server = VllmServer(vllm, os.environ.get(KEY_VARIABLE) or None)
    try:
        with at_desk() as here:
            for each in load_promoted(
                here.desk,
                here.readers,
                name,
                server,
                adapters.absolute(),
                alias="champion" if alias == "champion" else "candidate",
                host=host,
            ):
                click.echo(
                    f"{each.sequence}/{each.version} {each.task} {each.digest} on {each.host}"
                )
    finally:
        server.close()
