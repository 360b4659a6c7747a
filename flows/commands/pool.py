"""`lori pool`: run what needs GPUs in containers, in Docker or Kubernetes."""

from pathlib import Path

import click


@click.command()
@click.argument("kind", type=click.Choice(["docker", "kubernetes"]))
@click.option("--gpus", "gpus", type=click.IntRange(1, 64), multiple=True, metavar="N",
              help="How many GPUs tasks need that run there; may be given several times. [default: 1]")  # fmt: skip
@click.option("--write", "folder", type=click.Path(path_type=Path, file_okay=False),
              metavar="FOLDER", help="Write the template and the manifests there.")  # fmt: skip
@click.option("--apply", "applied", is_flag=True,
              help="Make the pool and its deployments on Prefect's server.")  # fmt: skip
def pool(kind: str, gpus: tuple[int, ...], folder: Path | None, applied: bool) -> None:
    """Run tasks that need GPUs in containers of a Docker host or a Kubernetes cluster.

    Without options it prints the pool's base job template. Tasks without GPUs, submissions and the
    order of all tasks stay with `lori worker`.
    """
    from flows.cluster_pools import KINDS, TEMPLATE, apply_pool, files, pool_of
    from registry.home import writable

    (named,) = (each for each in KINDS if each == kind)
    counts = gpus or (1,)
    written = files(named, counts)
    if folder is None and not applied:
        click.echo(written[TEMPLATE], nl=False)
        return
    if folder is not None:
        with writable(folder):
            folder.mkdir(parents=True, exist_ok=True)
            for name, content in written.items():
                (folder / name).write_text(content, encoding="utf-8")
                click.echo(folder / name)
    if applied:
        from flows.prefect_api import prefect_api

        with prefect_api() as client:
            for deployment in apply_pool(client, named, counts):
                click.echo(f"{deployment} in the work pool {pool_of(named)}")
