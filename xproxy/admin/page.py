"""The numbers as one small page of HTML: no script, no picture, nothing fetched from anywhere."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape
from typing import Any

from .numbers import SLOT_NUMBERS
from .work import REQUEST_NUMBERS

_PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<title>{program}</title>
<style>
body {{ font: 16px/1.5 system-ui, sans-serif; margin: 2em; max-width: 72em; color: #222; background: #fff }}
table {{ border-collapse: collapse; margin: 1em 0 }}
th, td {{ padding: .2em .8em; text-align: right; border-bottom: 1px solid #ddd; font-variant-numeric: tabular-nums }}
th:first-child, td:first-child {{ text-align: left }}
tr.service td {{ color: #555 }}
tr.service td:first-child {{ padding-left: 2em }}
</style>
</head>
<body>
<h1>{program} {version}</h1>
<p>{state}. {acceptor}{workers}</p>
{configuration}<table>
<tr>{heads}</tr>
{rows}
</table>
<p><a href="status">status</a> (JSON), <a href="metrics">metrics</a> (Prometheus), <a href="healthz">healthz</a>,
<a href="readyz">readyz</a></p>
</body>
</html>
"""


def page(status: dict[str, Any]) -> bytes:
    """The page for what ``Picture.status`` says. Names of pools and services come from outside and are escaped."""
    columns = [*SLOT_NUMBERS, *REQUEST_NUMBERS]
    rows = []
    for name, pool in status["pools"].items():
        rows.append(_row("pool", name, (pool.get(column) for column in columns)))
        for service in pool["services"]:
            rows.append(_row("service", service["name"], (service.get(column, "") for column in columns)))
    text = _PAGE.format(
        program=escape(status["program"]),
        version=escape(status["version"]),
        state="Ready" if status["ready"] else "Not ready: draining, or not listening yet",
        acceptor="" if status["acceptor"] else "No acceptor answers: its numbers are unknown.",
        workers=_workers(status["workers"]),
        configuration=_configuration(status) if "generation" in status else "",
        heads="".join(f"<th>{column.replace('_', ' ')}</th>" for column in ["pool", *columns]),
        rows="\n".join(rows),
    )
    return text.encode("utf-8")


def _workers(workers: Sequence[dict[str, Any]]) -> str:
    """How many workers serve; empty where one process is all there is."""
    serving = sum(worker["state"] == "serving" and worker["answers"] for worker in workers)
    return "" if len(workers) < 2 else f" {serving} of {len(workers)} workers serve."


def _configuration(status: dict[str, Any]) -> str:
    """The configuration in force, and the last reload that failed."""
    lines = [f"Configuration {status['generation']}, since {status['loaded_at']}."]
    lines += [f"{key} holds from the start, and the file has it otherwise." for key in status["kept"]]
    failed = status["failed_reload"]
    if failed is not None:
        lines += [f"The reload at {failed['at']} failed:", *failed["reasons"]]
    return "".join(f"<p>{escape(line)}</p>\n" for line in lines)


def _row(kind: str, name: str, values: Iterable[Any]) -> str:
    cells = "".join(f"<td>{'?' if value is None else escape(str(value))}</td>" for value in values)
    return f'<tr class="{kind}"><td>{escape(name)}</td>{cells}</tr>'
