"""Functions of templates on texts: escaping, regular expressions, hosts and ports."""

from __future__ import annotations

import ipaddress
import re
from typing import Any
from urllib.parse import quote_plus

from metricsmith.model.matchers import compile_anchored
from metricsmith.model.template import template as replacement

MAX_MADE = 1_000_000
_HTML = {"&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&#34;", "'": "&#39;", "\0": "\ufffd"}
_JS = {
    "\\": "\\\\",
    "'": "\\'",
    '"': '\\"',
    "<": "\\u003C",
    ">": "\\u003E",
    "&": "\\u0026",
    "=": "\\u003D",
}


def html(text: str) -> str:
    """Return a text that HTML shows as it is."""
    return "".join([_HTML.get(c, c) for c in text])


def js(text: str) -> str:
    """Return a text that may stand in a JavaScript literal."""
    return "".join([_JS.get(c) or (f"\\u{ord(c):04X}" if c < " " else c) for c in text])


def url_query(text: str) -> str:
    """Return a text that may stand in the query of a URL.

    >>> url_query("a b/ü")
    'a+b%2F%C3%BC'
    """
    return quote_plus(text, safe="")


def graph_link(expr: str, tab: int) -> str:
    """Return the path of the page that shows an expression; tab 0 is the graph, 1 the table."""
    return f"/graph?g0.expr={url_query(expr)}&g0.tab={tab}"


def title(text: str) -> str:
    """Return a text with the first letter of each word in title case.

    >>> title("aa bB-cc d_e f'g")
    "Aa BB-Cc D_e F'G"
    """
    before = " "
    done = []
    for character in text:
        done.append(character.title() if _separates(before) else character)
        before = character
    return "".join(done)


def _separates(character: str) -> bool:
    if character.isascii():
        return not (character.isalnum() or character == "_")
    return character.isspace()


def _pattern(pattern: str) -> Any:
    # Templates search, and there a dot matches no new line.
    return compile_anchored(f"(?-s){pattern}")


def matches(pattern: str, text: str) -> bool:
    """Return whether a pattern is found anywhere in a text.

    Raises:
        ValueError: not an RE2 pattern.
    """
    return _pattern(pattern).search(text) is not None


def replace_all(pattern: str, written: str, text: str) -> str:
    """Return a text with every match of a pattern replaced; `$1` and `${name}` are its groups.

    Raises:
        ValueError: not an RE2 pattern, or the result is too long.

    >>> replace_all("(.)-(.)", "$2-$1", "a-b c-d")
    'b-a d-c'
    """
    made = replacement(written)
    done: list[str] = []
    position, length, last_end = 0, 0, -1
    for match in _pattern(pattern).finditer(text):
        if match.start() == match.end() == last_end:
            continue  # Go takes no empty match right behind another match
        piece = text[position : match.start()] + made.expand(match)
        done.append(piece)
        position = last_end = match.end()
        length += len(piece)
        if length > MAX_MADE:
            raise ValueError(f"got a text of over {MAX_MADE} characters")
    return "".join(done) + text[position:]


_PORT = re.compile(r"(?:\[([^\[\]]*)\]|([^:\[\]]*)):([^:\[\]]*)", re.DOTALL)


def _host_and_port(address: str) -> tuple[str, str] | None:
    match = _PORT.fullmatch(address)
    if match is None:
        return None
    return (match[1] if match[1] is not None else match[2]), match[3]


def strip_port(address: str) -> str:
    """Return the host of HOST:PORT; what is not of this form stays as it is.

    >>> strip_port("shop:9100"), strip_port("[::1]:80"), strip_port("shop")
    ('shop', '::1', 'shop')
    """
    found = _host_and_port(address)
    return address if found is None else found[0]


def strip_domain(address: str) -> str:
    """Return a host name without its domain, with its port; addresses in digits stay as they are.

    >>> strip_domain("shop.example.org:80"), strip_domain("10.0.0.1:80")
    ('shop:80', '10.0.0.1:80')
    """
    host, port = _host_and_port(address) or (address, "")
    try:
        ipaddress.ip_address(host)
    except ValueError:
        short = host.split(".")[0]
        if not port:
            return short
        return f"[{short}]:{port}" if ":" in short else f"{short}:{port}"
    return address
