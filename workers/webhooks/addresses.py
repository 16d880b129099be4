"""Which addresses a webhook may go to: global unicast ones, and what the operator allows.

The tables follow IANA's special-purpose registries (RFC 6890) and are written out: what `ipaddress.is_global` answers
differs from one Python to the next. An IPv4 address inside an IPv6 one (mapped, NAT64, 6to4) is judged by itself.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_network
from typing import Final, Self, TypeAlias

Address: TypeAlias = IPv4Address | IPv6Address

_NOT_PUBLIC_4: Final = tuple(
    (IPv4Network(network), what)
    for network, what in (
        ("0.0.0.0/8", "unspecified"),
        ("10.0.0.0/8", "private"),
        ("100.64.0.0/10", "shared by a carrier's NAT"),
        ("127.0.0.0/8", "loopback"),
        ("169.254.0.0/16", "link-local"),
        ("172.16.0.0/12", "private"),
        ("192.0.0.0/24", "reserved"),
        ("192.0.2.0/24", "for documentation"),
        ("192.88.99.0/24", "reserved"),
        ("192.168.0.0/16", "private"),
        ("198.18.0.0/15", "for benchmarks"),
        ("198.51.100.0/24", "for documentation"),
        ("203.0.113.0/24", "for documentation"),
        ("224.0.0.0/4", "multicast"),
        ("240.0.0.0/4", "reserved"),
    )
)
_NOT_PUBLIC_6: Final = tuple(
    (IPv6Network(network), what)
    for network, what in (
        ("::/128", "unspecified"),
        ("::1/128", "loopback"),
        ("fc00::/7", "private"),
        ("fe80::/10", "link-local"),
        ("fec0::/10", "private"),
        ("ff00::/8", "multicast"),
        ("2001::/23", "reserved"),
        ("2001:db8::/32", "for documentation"),
        ("3fff::/20", "for documentation"),
    )
)
_GLOBAL_UNICAST_6: Final = IPv6Network("2000::/3")
_MAPPED: Final = IPv6Network("::ffff:0:0/96")
_NAT64: Final = IPv6Network("64:ff9b::/96")


def why_not_public(address: Address) -> str | None:
    """Return what the address is instead of global unicast; None when it is that."""
    inner = _inside(address)
    if inner is not None:
        what = why_not_public(inner)
        return what and f"{inner}, {what}"
    if isinstance(address, IPv4Address):
        return next((what for network, what in _NOT_PUBLIC_4 if address in network), None)
    what = next((what for network, what in _NOT_PUBLIC_6 if address in network), None)
    return what if what or address in _GLOBAL_UNICAST_6 else "reserved"


@dataclass(frozen=True, slots=True)
class Allowed:
    """What the operator lets webhooks go to although it is not public."""

    hosts: frozenset[str] = frozenset()
    networks: tuple[IPv4Network | IPv6Network, ...] = ()

    @classmethod
    def of(cls, entries: Iterable[str]) -> Self:
        """Read hosts, addresses and networks: `DISTRIQUEUE_WEBHOOK_ALLOW`, which was checked at the start."""
        hosts, networks = set(), []
        for entry in entries:
            try:
                networks.append(ip_network(entry))
            except ValueError:
                hosts.add(_name(entry))
        return cls(frozenset(hosts), tuple(networks))

    def has_host(self, host: str) -> bool:
        """Tell whether all that this very name resolves to is allowed; it stands for no subdomain."""
        return _name(host) in self.hosts

    def has_address(self, address: Address) -> bool:
        """Tell whether the address, or the IPv4 one inside it, is allowed."""
        inner = _inside(address)
        return any(address in network or (inner is not None and inner in network) for network in self.networks)


def _inside(address: Address) -> IPv4Address | None:
    if isinstance(address, IPv4Address):
        return None
    if address in _MAPPED or address in _NAT64:
        return IPv4Address(int(address) & 0xFFFF_FFFF)
    return address.sixtofour


def _name(host: str) -> str:
    return host.rstrip(".").lower()
