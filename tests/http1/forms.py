"""Forms of messages that are not quite as RFC 9110 and 9112 have them: what nginx 1.22 and HAProxy 2.6 make of each, and we.

Data only, as ``corpus``: each was sent through both of them to a service that noted what came (and, for responses, answered
so). The table in ``docs/architecture/http1.md`` is made of it. A form that is accepted goes on as its strict equivalent does.
"""

from __future__ import annotations

from typing import Tuple

import attr

ACCEPTS = "accepts"
BOTH = (ACCEPTS, ACCEPTS)


@attr.frozen
class Form:
    """One row.

    :ivar seen: what nginx and HAProxy do: accept it, or the status they answer.
    :ivar messages: the form, in one or several examples.
    :ivar same_as: the message that it is read as; empty: refused.
    :ivar answer_to: the method that it answers; empty: it is a request.
    :ivar reusable: whether the slot can be used again behind the response.
    """

    name: str
    seen: Tuple[str, str]
    decision: str
    messages: Tuple[bytes, ...]
    same_as: bytes = b""
    answer_to: bytes = b""
    reusable: bool = True

    @property
    def row(self) -> str:
        """The line of the table."""
        return "| " + " | ".join((self.name, ACCEPTS if self.same_as else "refuses", *self.seen, self.decision)) + " |"


CODED = b"5\r\nhello\r\n0\r\n\r\n"
"""A body of five bytes in the chunked coding."""

CONTROLS = tuple(bytes((code,)) for code in (*range(9), 11, 12, *range(14, 32), 127))
"""The control characters that are neither a tab nor in a line end."""

HEADING = "| form | we | nginx 1.22 | HAProxy 2.6 | decision |\n|---|---|---|---|---|\n"


def table(forms: Tuple[Form, ...]) -> str:
    """The table of these forms, as the documentation has it."""
    return HEADING + "".join(form.row + "\n" for form in forms)
