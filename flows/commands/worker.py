"""`lori worker`: learn what is submitted, on this host."""

import click


@click.command()
@click.option("--gpus", metavar="LIST",
              help="Devices its runs see, e.g. 0,1: it takes tasks that need up to so many. Without, "
              "it takes tasks that need none.")  # fmt: skip
@click.option("--limit", type=click.IntRange(1, 1024), default=1, show_default=True,
              help="Tasks it learns side by side; they share its devices.")  # fmt: skip
@click.option("--name", metavar="NAME", help="As Prefect shows it. Default: host and process.")
def worker(gpus: str | None, limit: int, name: str | None) -> None:
    """Learn submitted tasks until Ctrl-C, as the Prefect server gives them out.

    The server is that of PREFECT_API_URL, or of `lori up` in this home. Workers of several hosts share
    the home folder, the registry and MLflow's server. Stopped, it checkpoints and leaves within ten
    seconds; another worker, or this one later, goes on from there.
    """
    from flows.worker_start import start_worker

    start_worker(gpus=gpus, limit=limit, name=name)
