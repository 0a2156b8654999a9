"""The keys of session tickets, where several processes are to open each other's.

OpenSSL makes random ones for each context, and ``SSL_CTX_set_tlsext_ticket_keys`` sets others. pyOpenSSL does not have it, and
neither does cryptography's binding below it, which has all of OpenSSL inside. So the one function that the call is made of,
``SSL_CTX_ctrl``, is looked for by its name: among what that library and those it needs give away, as where the system's
OpenSSL is used, else in its table of symbols, which wheels come with (elf(5)). Before anything is set the function must tell
how long the keys are. Where it is not found, nothing is set: each process opens its own tickets.
"""

from __future__ import annotations

import ctypes
import importlib
import struct
from functools import lru_cache
from typing import Any, Callable, Optional

from OpenSSL import SSL

TICKET_KEYS_BYTES = 80
"""A name of 16 bytes, 32 for HMAC and 32 for AES (SSL_CTX_set_tlsext_ticket_key_cb(3))."""

_GET, _SET = 58, 59
"""SSL_CTRL_GET_TLSEXT_TICKET_KEYS and SSL_CTRL_SET_TLSEXT_TICKET_KEYS (tls1.h)."""

_NAME = b"SSL_CTX_ctrl"
_SYMTAB, _FUNCTION = 2, 2
"""SHT_SYMTAB and STT_FUNC (elf(5))."""

_BINDINGS = ("cryptography.hazmat.bindings._rust", "cryptography.hazmat.bindings._openssl")

Control = Callable[[Any, int, int, Any], int]


def set_ticket_keys(context: SSL.Context, keys: bytes) -> bool:
    """Let tickets of ``context`` be made and opened with these keys; gives whether that can be done here."""
    control = _control()
    if control is None:
        return False
    at = int(SSL._ffi.cast("uintptr_t", context._context))  # type: ignore[attr-defined]
    if control(at, _GET, 0, None) != TICKET_KEYS_BYTES:
        return False
    return control(at, _SET, TICKET_KEYS_BYTES, ctypes.create_string_buffer(keys, TICKET_KEYS_BYTES)) == 1


@lru_cache(None)
def _control() -> Optional[Control]:
    """OpenSSL's SSL_CTX_ctrl, that of the library that pyOpenSSL uses; None when it is not found."""
    for name in _BINDINGS:
        try:
            path = getattr(importlib.import_module(name), "__file__", None)
            if path is not None:
                return _exported(path) or _hidden(path)
        except (ImportError, OSError, ValueError, struct.error):
            continue  # Another version of cryptography, another kind of library, no proc(5): see above.
    return None


def _prototype() -> Any:
    return ctypes.CFUNCTYPE(ctypes.c_long, ctypes.c_void_p, ctypes.c_int, ctypes.c_long, ctypes.c_void_p)


def _exported(path: str) -> Optional[Control]:
    """A function of the library or of those it is linked with."""
    library = ctypes.CDLL(path)  # It is loaded already.
    found = getattr(library, _NAME.decode(), None)
    if found is None:
        return None
    control: Control = ctypes.cast(found, _prototype())
    return control


def _hidden(path: str) -> Optional[Control]:
    """A function that the library keeps to itself."""
    with open(path, "rb") as file:
        offset = function_offset(file.read(), _NAME)
    if offset is None:
        return None
    with open("/proc/self/maps", encoding="utf-8") as maps:
        bases = [int(line.partition("-")[0], 16) for line in maps if line.rstrip("\n").endswith(path)]
    if not bases:
        return None
    control: Control = _prototype()(min(bases) + offset)
    return control


def function_offset(image: bytes, name: bytes) -> Optional[int]:
    """Where a function is in a library of 64 bits, from its beginning; None when its symbols do not tell (elf(5)).

    :raises ValueError: that is no such library.
    :raises struct.error: it is cut off.
    """
    if image[:6] not in (b"\x7fELF\x02\x01", b"\x7fELF\x02\x02"):
        raise ValueError("no ELF file of 64 bits")
    order = "<" if image[5] == 1 else ">"
    table, size, number = (*struct.unpack_from(f"{order}Q", image, 40), *struct.unpack_from(f"{order}HH", image, 58))
    sections = [struct.unpack_from(f"{order}IIQQQQIIQQ", image, table + size * index) for index in range(number)]
    for section in sections:
        _, kind, _, _, start, length, link, _, _, entry = section
        if kind != _SYMTAB:
            continue
        names = sections[link][4]
        at = image.find(b"\0" + name + b"\0", names, names + sections[link][5]) + 1 - names
        for place in range(start, start + length, entry):
            word, info, _, _, value, _ = struct.unpack_from(f"{order}IBBHQQ", image, place)
            if word == at and info & 15 == _FUNCTION:
                return int(value)
    return None
