"""A proxy in front of us that says who comes: believed only from the addresses it was named with.

Its headers name the person and his groups, and groups are mapped to the registry's roles. From any other
address the same headers are nothing. Who comes through it has a name that no account can have
(`registry.people`).
"""

import ipaddress
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from starlette.requests import HTTPConnection

from lori_core.errors import BadInput, CheckFailed
from registry.decisions import Actor, Role
from registry.people import proxied
from registry.roles import ROLES

Network = ipaddress.IPv4Network | ipaddress.IPv6Network

_HEADER = re.compile(r"[A-Za-z][A-Za-z0-9-]{0,63}")
_GROUPS_READ = 500


@dataclass(frozen=True, slots=True, kw_only=True)
class Proxy:
    """Which proxy is believed, and what it says."""

    networks: tuple[Network, ...] = ()
    """Addresses it speaks from; none: there is no proxy."""
    user_header: str | None = None
    """Header with the name of who comes; None: the proxy brings TLS alone, and people sign in here."""
    groups_header: str | None = None
    roles: Mapping[str, Role] = field(default_factory=dict)
    """Group -> role."""

    @property
    def knows_people(self) -> bool:
        """Whether somebody may come who is known by its word."""
        return self.user_header is not None

    def trusts(self, request: HTTPConnection) -> bool:
        """Whether a request comes from its address."""
        peer = _address(request.client.host) if request.client else None
        return peer is not None and any(peer in network for network in self.networks)

    def is_https(self, request: HTTPConnection) -> bool:
        """Whether the person's own connection is encrypted."""
        if self.trusts(request):
            return _last(request, "x-forwarded-proto").lower() == "https"
        return request.url.scheme == "https"

    def address(self, request: HTTPConnection) -> str:
        """Where a person comes from, as far as we believe it."""
        if self.trusts(request):
            said = _address(_without_port(_last(request, "x-forwarded-for")))
            if said is not None:
                return str(said)
        return request.client.host if request.client else ""

    def actor(self, request: HTTPConnection) -> Actor | None:
        """Who comes by its word; None where it says nothing, or is not the one who speaks.

        Raises:
            BadInput: it names nobody we could write down.
            CheckFailed: none of his groups has a role here.
        """
        if self.user_header is None or not self.trusts(request):
            return None
        said = request.headers.getlist(self.user_header)
        if not said:
            return None
        if len(said) > 1:
            raise BadInput(f"{self.user_header} ({len(said)} times)", "the header once")
        name = proxied(said[0].strip())
        role = self._role(request)
        if role is None:
            raise CheckFailed("role", f"{name} is in no group that has a role here")
        return Actor(name=name, role=role, account=True)

    def _role(self, request: HTTPConnection) -> Role | None:
        if self.groups_header is None:
            return None
        lines = request.headers.getlist(self.groups_header)
        if len(lines) > 1:
            raise BadInput(f"{self.groups_header} ({len(lines)} times)", "the header once")
        said = "".join(lines).split(",", _GROUPS_READ)
        held = {self.roles[group] for each in said if (group := each.strip()) in self.roles}
        return max(held, key=ROLES.index, default=None)


NO_PROXY = Proxy()


def proxy_of(
    addresses: Sequence[str],
    *,
    user_header: str | None,
    groups_header: str | None,
    groups: Sequence[str],
) -> Proxy:
    """The proxy that options of the command describe.

    Args:
        addresses: networks or single addresses, `10.0.0.0/8`.
        user_header: header with the person's name.
        groups_header: header with his groups, parted by commas.
        groups: `GROUP=ROLE`, each.

    Raises:
        BadInput: one of them is none, or one is given without those it needs.
    """
    if not addresses and (user_header or groups_header or groups):
        raise BadInput(
            "--user-header, --groups-header and --group",
            "--trusted-proxy beside them",
            "Whose word is it?",
        )
    if (user_header is None) != (groups_header is None) or bool(groups) != bool(user_header):
        raise BadInput(
            "a part of --user-header, --groups-header and --group",
            "all three or none",
            "Without them the proxy is believed about addresses and TLS, and people sign in here.",
        )
    for header in (user_header, groups_header):
        if header is not None and _HEADER.fullmatch(header) is None:
            raise BadInput(f"header {header!r}", "the name of a header, like X-Forwarded-User")
    return Proxy(
        networks=_networks(addresses),
        user_header=user_header,
        groups_header=groups_header,
        roles=dict(_mapped(each) for each in groups),
    )


def _networks(addresses: Sequence[str]) -> tuple[Network, ...]:
    found = tuple(_network(each) for each in addresses)
    fours = [each for each in found if isinstance(each, ipaddress.IPv4Network)]
    sixes = [each for each in found if isinstance(each, ipaddress.IPv6Network)]
    joined: list[Network] = [*ipaddress.collapse_addresses(fours)]
    joined += ipaddress.collapse_addresses(sixes)
    if any(each.prefixlen == 0 for each in joined):
        named = " ".join(f"--trusted-proxy {each}" for each in addresses)
        raise BadInput(named, "networks that are not everybody")
    return found


def _network(text: str) -> Network:
    try:
        found = ipaddress.ip_network(text)
    except ValueError as error:
        raise BadInput(
            f"--trusted-proxy {text!r}", "an address or a network, like 10.1.2.0/24"
        ) from error
    return found


def _mapped(text: str) -> tuple[str, Role]:
    group, equals, role = text.rpartition("=")
    found = next((each for each in ROLES if each == role), None)
    if not (group and equals) or "," in group or found is None:
        raise BadInput(f"--group {text!r}", f"GROUP=ROLE, a role of {', '.join(ROLES)}")
    return group, found


def _last(request: HTTPConnection, header: str) -> str:
    """The value that the nearest proxy wrote, over all lines of a header: it adds at the end."""
    return ",".join(request.headers.getlist(header)).rpartition(",")[2].strip()


def _without_port(text: str) -> str:
    """An address as some proxies write it: `10.0.0.9:51000`, `[fd00::9]:51000`."""
    if text.startswith("["):
        return text[1:].partition("]")[0]
    return text.partition(":")[0] if text.count(":") == 1 else text


def _address(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        found = ipaddress.ip_address(text)
    except ValueError:
        return None
    mapped = found.ipv4_mapped if isinstance(found, ipaddress.IPv6Address) else None
    return mapped or found
