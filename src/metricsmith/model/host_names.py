"""By which names a server may be asked: the guard against pages that resolve their own name to our address.

Light, so that applications with the SDK can use it.
"""

from __future__ import annotations

import re
import socket
from collections.abc import Iterable, Mapping
from typing import Final

HOST_NAME: Final = re.compile(r"(\*\.)?[a-z0-9_]([a-z0-9_.-]{0,251}[a-z0-9_])?|\*", re.IGNORECASE | re.ASCII)
"""What a name may look like in a setting; `*` stands for all, `*.example.com` for those below."""
UNREGISTRABLE: Final = (".localhost", ".local", ".internal", ".svc", ".home.arpa")
"""Nobody can own a name below these on the Internet: they are of a machine, a network, or a cluster."""
MAX_HOSTS = 1 << 20
BROWSER_HEADERS: Final = ("origin", "accept-language", "sec-fetch-site")
"""A browser sends one at least, and no script of a page can take away all; clients of APIs send none."""


class AllowedHosts:
    """Decides by which names of the `Host` header a server may be asked.

    A page of an attacker is of a name that the attacker owns. So addresses,
    names without a dot, names that nobody can own, this machine's name and
    those of the settings are let through. Where a server listens beyond
    loopback, only what browsers send is looked at: other clients reach it by
    names that it does not know, and do no attacker's bidding.

    Source:
        Ollama and Jupyter check the host on loopback only, webpack's server always and addresses
        never; Prometheus and VictoriaMetrics do not check.
    """

    def __init__(self, listen: str, names: Iterable[str] = ()) -> None:
        listen = listen.strip("[]").lower()
        self._always = listen == "localhost" or listen == "::1" or listen.startswith("127.")
        known = {each.lower().rstrip(".") for each in names}
        self._everything = "*" in known
        self._below = tuple(each[1:] for each in known if each.startswith("*.")) + UNREGISTRABLE
        self._names = known | {listen} | own_names()

    def refused(self, headers: Mapping[str, str]) -> str:
        """Return the name by which a request asks if it must not, else an empty text.

        `headers` have their names in lower case.
        """
        host = headers.get("host", "")
        if self._everything or not host:  # browsers always name a host
            return ""
        if not self._always and not any(name in headers for name in BROWSER_HEADERS):
            return ""
        name = _without_port(host)
        known = name in self._names or name.endswith(self._below)
        return "" if known or _is_address(name) or _is_single(name) else host[:200]


def advice(host: str, setting: str) -> str:
    """Return what to tell who asked by a name that is not known."""
    wanted = f"an address, localhost, this machine's name, or one that is in {setting}"
    return f'got the host "{host}", wanted {wanted} (a web page could have made its own name point here)'


def own_names(hosts: str = "/etc/hosts") -> set[str]:
    """Return the names of this machine: its host name, and those that the hosts file has beside it.

    The resolver is not asked: it may take seconds, and answer what others say.
    """
    name = socket.gethostname().lower()
    found = {name}
    try:
        with open(hosts, errors="replace") as file:
            lines = file.read(MAX_HOSTS).lower().splitlines()
    except OSError:
        return found
    for line in lines:
        names = line.partition("#")[0].split()[1:]
        found.update(names if name in names else ())
    return found


def _without_port(host: str) -> str:
    if host.startswith("["):
        address, _, rest = host[1:].partition("]")
        return address if not rest or rest.startswith(":") else host
    name, colon, port = host.rpartition(":")
    return (name if colon and port.isdigit() else host).lower().rstrip(".")


def _is_single(name: str) -> bool:
    return "." not in name and HOST_NAME.fullmatch(name) is not None


def _is_address(name: str) -> bool:
    for family in (socket.AF_INET, socket.AF_INET6):
        try:
            socket.inet_pton(family, name)
        except (OSError, ValueError):
            continue
        return True
    return False
