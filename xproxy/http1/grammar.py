"""The lexical rules of RFC 9110 section 5 and RFC 9112 that the parsers share.

Every expression of this package is linear: a repeat is always followed by a byte that the repeat cannot match, so a failed
match gives each byte back once and finds nothing else to try. ``tests/http1/test_linear.py`` holds us to that.
"""

from __future__ import annotations

import re
from typing import Union

TOKEN = rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+"
"""RFC 9110 section 5.6.2."""
VALUE = rb"[\t -~\x80-\xff]*"
"""A field value with the whitespace around it (RFC 9110 section 5.5): obs-text is opaque, no other control than the tab."""

is_token = re.compile(TOKEN).fullmatch
header_lines = re.compile(rb"(?m)^((" + TOKEN + rb"):" + VALUE + rb"\r\n)").findall
"""The well-formed lines of a block as (line, name); as many as the block has LFs when all of it is well-formed (RFC 9112
section 5): no folding, no space before the colon, no empty name."""
blanks_before_colon = re.compile(rb"(?m)^(" + TOKEN + rb")[ \t]+:").sub
"""To be called with ``rb"\1:"`` and a block."""
_sound_text = re.compile(rb"(?:[\t -~\x80-\xff]|\r\n)*").match


def fault(buffer: Union[bytes, bytearray], start: int = 0, searched: int = 0) -> str:
    """The first thing from ``start`` on that no head and no trailer section may hold anywhere; empty: nothing so far.

    That is a control character, or a CR or LF that is no line end. A CR at the very end may become a line end.

    :param searched: up to where an earlier call with the same ``start`` has found nothing.
    """
    if searched > start:
        start = searched - 1 if buffer[searched - 1] == 13 else searched
    match = _sound_text(buffer, start)
    end = match.end() if match else start
    if end == len(buffer) or (buffer[end] == 13 and end + 1 == len(buffer)):
        return ""
    return {13: "bare-cr", 10: "bare-lf", 0: "nul"}.get(buffer[end], "control-character")
