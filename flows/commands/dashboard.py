"""`lori dashboard`: the registry behind HTTP, for people and for `lori` elsewhere."""

import click


@click.command()
@click.option("--port", type=click.IntRange(0, 65535), default=8321, show_default=True,
              help="0 takes a free one.")  # fmt: skip
@click.option("--host", default="127.0.0.1", show_default=True,
              help="Address to listen on; another than loopback takes accounts.")  # fmt: skip
@click.option("--name", "names", multiple=True, metavar="HOST",
              help="A further name it is asked by, behind a proxy.")  # fmt: skip
@click.option("--trusted-proxy", "proxies", multiple=True, metavar="CIDR",
              help="A proxy's address or network: believed about TLS and where people come from.")  # fmt: skip
@click.option("--user-header", metavar="HEADER",
              help="Where that proxy names who comes: X-Forwarded-User.")  # fmt: skip
@click.option("--groups-header", metavar="HEADER",
              help="Where it names his groups: X-Forwarded-Groups.")  # fmt: skip
@click.option("--group", "groups", multiple=True, metavar="GROUP=ROLE",
              help="The role of a group; the highest of his counts, and without one he is refused.")  # fmt: skip
def dashboard(
    port: int,
    host: str,
    names: tuple[str, ...],
    proxies: tuple[str, ...],
    user_header: str | None,
    groups_header: str | None,
    groups: tuple[str, ...],
) -> None:
    """Serve this home's registry until Ctrl-C; elsewhere LORI_REGISTRY_URL names the address.

    Prints its URL once it answers and, while there are no accounts, the token that may write. A home
    that is not there yet is made.
    """
    from dashboard.proxy import proxy_of
    from dashboard.serve import serve
    from flows.commands.options import tell_home
    from registry.home import find_home
    from registry.settings import find_settings
    from registry.store import open_registry, registry_exists

    proxy = proxy_of(proxies, user_header=user_header, groups_header=groups_header, groups=groups)
    home = find_home()
    find_settings(home)  # a server's address in LORI_REGISTRY_URL is told before a home is made
    if not (home.is_dir() and registry_exists(home)):
        click.echo(f"home {home} is new: nothing is recorded in it", err=True)
    with open_registry(home) as registry:
        serve(registry, port=port, host=host, hosts=names, proxy=proxy)
        tell_home(registry.settings.home)
