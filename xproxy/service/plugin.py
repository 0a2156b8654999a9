"""``slots:``, the server endpoint description: ``slots:tcp:127.0.0.1:9999:count=32``.

After the prefix comes the description of a client endpoint, as it is; our own keywords may stand anywhere after it, all others
are passed on to the client endpoint. This module is imported by every ``twist`` and ``twistd`` command on the machine, so it
imports next to nothing before it is used.
"""

from __future__ import annotations

import os
from typing import Any, Dict

from twisted.internet.interfaces import IStreamServerEndpoint, IStreamServerEndpointStringParser
from twisted.plugin import IPlugin
from zope.interface import implementer

EXAMPLE = "slots:tcp:127.0.0.1:9999:count=8"


@implementer(IPlugin, IStreamServerEndpointStringParser)
class SlotsParser:
    """Parses ``slots:DESC-OF-A-CLIENT-ENDPOINT:count=N[:pool=][:token=][:registration=][:instance=][:drain=SECONDS]``."""

    prefix = "slots"

    def parseStreamServer(self, reactor: Any, *args: Any, **kwargs: Any) -> IStreamServerEndpoint:
        """See IStreamServerEndpointStringParser. Raises ValueError, with a text for the person who wrote the description."""
        from xproxy.service.endpoint import SlotsServerEndpoint

        own: Dict[str, Any] = {
            name: kwargs.pop(name) for name in ("count", "pool", "token", "registration", "instance", "drain") if name in kwargs
        }
        client = client_description(args, kwargs)
        try:
            count = _number(int, own.pop("count", None), "count", "how many requests the service runs at once")
            drain = {"drain_timeout_s": _number(float, own.pop("drain"), "drain", "seconds")} if "drain" in own else {}
            for name in ("pool", "instance", "token"):
                if own.get(name) == "":
                    raise ValueError(f"{name}= is empty")
            return SlotsServerEndpoint(reactor, connector(reactor, client), count, description=client, **own, **drain)
        except ValueError as error:
            raise ValueError(f"slots:{client}: {error}") from error


def client_description(args: Any, kwargs: Dict[str, str]) -> str:
    """Put the description of the client endpoint together again from its parsed parts.

    :raises ValueError: there is none.
    """
    if not args or not args[0]:
        raise ValueError(f"slots: needs the client endpoint to dial, as in {EXAMPLE}")
    return ":".join([*map(_quoted, args), *(f"{_quoted(name)}={_quoted(value)}" for name, value in kwargs.items())])


def _quoted(text: str) -> str:
    # endpoints.quoteStringArgument leaves "=" alone, which makes a keyword of a path that has one.
    return text.replace("\\", "\\\\").replace(":", "\\:").replace("=", "\\=")


def _number(kind: Any, text: Any, name: str, meaning: str) -> Any:
    if text is None:
        raise ValueError(f"{name}= is missing ({meaning}), as in {EXAMPLE}")
    try:
        return kind(text)
    except ValueError:
        raise ValueError(f"{name}={text}: a number is needed ({meaning})") from None


def connector(reactor: Any, client: str) -> Any:
    """``clientFromString``, whose many ways to refuse a description all become ValueError."""
    from twisted.internet.endpoints import clientFromString

    from xproxy.config.checks import client_meant
    from xproxy.startup import os_reason

    try:
        return clientFromString(reactor, client)
    except TypeError as error:
        hint = client_meant(client) or "it lacks an argument, or has one too many or unknown"
        raise ValueError(f"not a client endpoint: {hint}") from error
    except Exception as error:
        reason = client_meant(client) or _tls_mistake(error) or os_reason(error)
        raise ValueError(f"not a client endpoint: {reason}") from error


def _tls_mistake(error: Exception) -> str:
    """What is wrong with the files of a ``tls:`` endpoint; empty when it is something else."""
    from twisted.python.filepath import UnlistableError

    from xproxy.startup import os_reason

    if isinstance(error, UnlistableError):
        error = error.originalException
    if isinstance(error, OSError) and error.filename:
        return f"{os_reason(error)}: {os.fsdecode(error.filename)}"
    if error.args and isinstance(error.args[0], list):  # OpenSSL's own errors, of whatever class
        return f"certificate or private key: {error.args[0][-1][-1] if error.args[0] else 'not in PEM format'}"
    return ""
