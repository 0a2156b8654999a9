"""The lexical rules of RFC 9110 section 5 and RFC 9112 that the parsers share, as parts of regular expressions.

Every expression built from them is linear: a repeat is always followed by a byte that it cannot match, so that a failed match
gives each byte back once and finds nothing else to try. ``tests/http1/test_linear.py`` holds us to it.
"""

from __future__ import annotations

import re

TOKEN = rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+"
"""RFC 9110 section 5.6.2."""
VALUE = rb"[\t -~\x80-\xff]*"
"""A field value with the whitespace around it (RFC 9110 section 5.5): obs-text is opaque, no other control than the tab."""

token = re.compile(TOKEN).fullmatch
header_block = re.compile(rb"(?:" + TOKEN + rb":" + VALUE + rb"\r\n)*").fullmatch
"""Whole header lines and nothing else (RFC 9112 section 5): no folding, no space before the colon, no empty name."""
broken_text = re.compile(rb"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]|\r(?![\n])|(?<!\r)\n")
"""The first thing that no head may hold anywhere: a control character, a CR or LF that is not a line end."""
