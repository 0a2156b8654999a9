"""``python -m xproxy.config.reference [--check]``: writes what the schema says of the keys into the documentation.

The tables in ``docs/configuration.md`` stand between two comments each, the rest of that page is written by hand; the whole of
``etc/xproxy.toml`` is made here. Both are written in the directory that this package lies in: a checkout.
"""

from __future__ import annotations

import json
import re
import sys
import textwrap
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from .schema import HEADINGS, Key, RedirectConfig, RespondConfig, Table, keys_of

ROOT = Path(__file__).resolve().parents[2]

MANUAL, SAMPLE = "docs/configuration.md", "etc/xproxy.toml"

WIDTH = 128

TABLES: Mapping[str, type[Any]] = {**HEADINGS, "redirect": RedirectConfig, "respond": RespondConfig}
"""What has a table in the manual, by the name that the comments around it have."""

_BETWEEN = re.compile(r"(<!-- keys of (.+?), by make reference -->\n).*?(<!-- end of keys -->)", re.DOTALL)

PREFACE = """\
# Every key of the configuration, made from its schema by "make reference". A line that begins with "#" and a key shows the
# default; a line that begins with "#e.g." shows a key that is unset by default, or a whole section that could be there. In
# brackets: what is allowed, and where a number comes from. Times are in seconds, sizes in bytes, endpoints in Twisted's
# notation (tcp:PORT:interface=ADDRESS, unix:PATH:mode=660, systemd:domain=INET:name=NAME). Any text can stand elsewhere:
# { file = "/run/secrets/token" }, { env = "TOKEN" }.
#
#   twistd -n xproxy --config etc/xproxy.toml --check     says what is wrong, in which line and with which key
#   docs/configuration.md                                 explains
"""

TITLES: Mapping[str, str] = {
    "[proxy]": "Where clients arrive.",
    "[[proxy.certificates]]": "The certificates of https, chosen by the name that a client asks for (SNI), else the first.",
    "[acceptor]": "Where services register, and where other proxies of this host ask for slots.",
    "[[acceptor.certificates]]": "For slots over TLS: what services are shown, chosen like those of https.",
    "[pools.NAME]": "The slots of one service; a section for each pool.",
    "[[routes]]": "Which requests go where: the most specific host wins, then the longest path. Without any route everything"
    " goes to the pool default, or to the only one.",
    "[guards.NAME]": "Who is asked whether a request may pass; a section for each, used by the routes that name it.",
    "[limits]": "What clients and services may ask for.",
    "[timeouts]": "How long clients may take.",
}

EXAMPLES: Mapping[str, str] = {
    "[pools.NAME]": """
#e.g. [pools.api]
#e.g. slots = ["tcp:9998:interface=10.0.0.1"]
#e.g. allow = ["10.0.0.0/24"]
#e.g. token = { file = "/run/secrets/api-token" }

#e.g. [pools.remote]
#e.g. slots_tls = ["tcp:9443"]
#e.g. service_names = ["remote.services.example.com", "spiffe://example.com/remote"]
""",
    "[[routes]]": """
#e.g. [[routes]]
#e.g. host = "api.example.com"
#e.g. path = "/v1"
#e.g. methods = ["GET", "HEAD"]
#e.g. pool = "api"
#e.g. strip_prefix = "/v1"
#e.g. guards = ["office"]
#e.g. set_host = "api"
#e.g. response_timeout = 300.0
#e.g. body_limit = 10485760

#e.g. [[routes]]
#e.g. host = "remote.example.com"
#e.g. pool = "remote"
#e.g. redirect_https = true

#e.g. [[routes]]
#e.g. host = "example.com"
#e.g. redirect = { status = 308, location = "https://www.example.com{target}" }

#e.g. [[routes]]
#e.g. path = "/ping"
#e.g. respond = { status = 200, body = "pong\\n", content_type = "text/plain; charset=utf-8" }
""",
}
"""What follows a section in the sample: whole sections, whose keys are not all said again."""

IN_EXAMPLES = ("methods", "guards", "strip_prefix", "set_host", "redirect", "respond", "response_timeout", "body_limit")
"""Keys of routes that would contradict each other in the first one; the examples have them."""


def toml(value: object) -> str:
    """A plain value as TOML writes it."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (list, tuple)):
        return f"[{', '.join(map(toml, value))}]"
    if isinstance(value, str):
        return f"'{value}'" if "\\" in value and "'" not in value and value.isprintable() else json.dumps(value)
    return repr(value)


def default_of(key: Key) -> str:
    """The default in TOML; empty: none can be written."""
    if key.written:
        return key.written
    if key.unset or key.needed or isinstance(key.check, Table):
        return ""
    return toml(key.check.to_toml(key.default))


def _allowed(key: Key) -> str:
    if isinstance(key.check, Table):
        return "tables" if key.check.many else "table"
    return key.check.brief


def _meaning(key: Key) -> str:
    return f"{key.meaning} A reload does not change it." if key.at_start is True else key.meaning


def _rows(keys: Mapping[str, Key]) -> Iterator[str]:
    yield "| key | default | allowed | meaning |"
    yield "|---|---|---|---|"
    for name, key in keys.items():
        default = default_of(key)
        source = f" ({key.source}.)" if key.source else ""
        cells = (f"`{name}`", f"`{default}`" if default else key.unset, _allowed(key), _meaning(key) + source)
        yield "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def manual(text: str) -> str:
    """The manual with its tables made anew. Raises KeyError for a table of keys that there are not."""

    def table(match: re.Match[str]) -> str:
        return match[1] + "\n".join(_rows(keys_of(TABLES[match[2]]))) + "\n" + match[3]

    return _BETWEEN.sub(table, text)


def tables_in(text: str) -> list[str]:
    """The names of the tables that a manual has."""
    return [match[2] for match in _BETWEEN.finditer(text)]


def _comment(text: str) -> str:
    bare = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", text).replace("`", "")
    return "\n".join(textwrap.wrap(bare, WIDTH, initial_indent="# ", subsequent_indent="# ", break_long_words=False))


def _explained(key: Key) -> str:
    more = "; ".join(filter(None, (_allowed(key), key.source)))
    return _comment(f"{_meaning(key)} [{more}]")


def _section(heading: str) -> Iterator[str]:
    keys = keys_of(HEADINGS[heading])
    optional = heading.endswith(".certificates]]") or heading == "[guards.NAME]"
    yield _comment(TITLES[heading])
    yield ("#e.g. " if optional else "") + heading.replace("NAME", "office" if heading == "[guards.NAME]" else "default")
    for name, key in keys.items():
        if isinstance(key.check, Table) and key.check.many:
            continue  # It has a heading of its own.
        if heading == "[[routes]]" and name in IN_EXAMPLES:
            continue
        default = default_of(key)
        yield _explained(key)
        yield f"#{name} = {default}" if default and not optional else f"#e.g. {name} = {default or key.example}"


def sample() -> str:
    """The sample configuration."""
    parts = [PREFACE]
    for heading in HEADINGS:
        parts.append("\n".join(_section(heading)) + "\n" + EXAMPLES.get(heading, ""))
    return "\n".join(parts)


def main(arguments: list[str]) -> int:
    """Write both, or with ``--check`` say what is not fresh; the exit status."""
    stale = []
    for name, make in ((MANUAL, manual), (SAMPLE, lambda _: sample())):
        before = (ROOT / name).read_text(encoding="utf-8")
        after = make(before)
        if after != before:
            stale.append(name)
            if "--check" not in arguments:
                (ROOT / name).write_text(after, encoding="utf-8")
    if stale:
        sys.stdout.write(f"{'not fresh' if '--check' in arguments else 'written'}: {', '.join(stale)}\n")
    return 1 if stale and "--check" in arguments else 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
