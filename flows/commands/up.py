"""`lori up`: Prefect, MLflow, the dashboard and a worker on this host, until Ctrl-C."""

import click

PORT = click.IntRange(0, 65535)


@click.command()
@click.option("--prefect-port", type=PORT, help="Default: 4200.")
@click.option("--mlflow-port", type=PORT, help="Default: 5000.")
@click.option("--dashboard-port", type=PORT, help="Default: 8642.")
@click.option("--port-base", type=click.IntRange(0, 65533), metavar="P",
              help="P, P+1 and P+2 instead of the defaults. 0, here and above, takes free ones.")  # fmt: skip
@click.option("--gpus", metavar="LIST", help="Devices of the worker, as for `lori worker`.")
@click.option("--limit", type=click.IntRange(1, 1024), help="Tasks its worker runs side by side.")
def up(
    prefect_port: int | None,
    mlflow_port: int | None,
    dashboard_port: int | None,
    port_base: int | None,
    gpus: str | None,
    limit: int | None,
) -> None:
    """Run what learns submitted tasks: Prefect, MLflow, the dashboard, a worker. Ctrl-C ends all.

    Prints `NAME URL healthy` for each once it answers; starts again what dies. Commands in other
    shells find them by this home. Servers that PREFECT_API_URL or MLFLOW_TRACKING_URI name are used,
    not started.
    """
    from dataclasses import replace

    from flows.edge import signals_end_this
    from flows.services import Ports
    from flows.up import hangup_ends_this, up
    from registry.home import find_home

    named = {"prefect": prefect_port, "mlflow": mlflow_port, "dashboard": dashboard_port}
    given = {name: port for name, port in named.items() if port is not None}
    ports = replace(Ports() if port_base is None else Ports.from_base(port_base), **given)
    with signals_end_this(lambda: "Stopped; every service was ended."), hangup_ends_this():
        up(
            find_home(),
            ports,
            gpus=gpus,
            limit=limit,
            result=click.echo,
            note=lambda line: click.echo(line, err=True),
        )
