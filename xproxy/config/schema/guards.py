"""``[guards.NAME]``: who is asked whether a request may pass, by the name that routes use."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import attr

from .. import checks
from ..checks import seconds
from .key import entry


@attr.frozen
class GuardConfig:
    """A guard. ``[guards.NAME]``."""

    name: str
    kind: str = attr.field(
        metadata=entry(
            checks.plugin_name,
            "What it is: the name of a Twisted plugin that provides `xproxy.interfaces.IGuardMaker`.",
            example='"office-hours"',
        ),
    )
    verdict_timeout: float = attr.field(
        default=1.0,
        metadata=entry(
            seconds(),
            "How long it may take for one request; later than that the request is refused with 503. Its client is waiting.",
        ),
    )
    options: Mapping[str, Any] = attr.field(
        factory=dict,
        eq=True,
        hash=False,
        metadata=entry(checks.any_table, "What the plugin wants to know: a table, given to it as it stands.", written="{}"),
    )
