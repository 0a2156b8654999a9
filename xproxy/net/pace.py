"""Progress is a rate: who is waited for earns time with bytes, not with moving at all. Pure.

A peer is given a whole window when it begins to be waited for, and each byte earns it 1/rate seconds more, up to a whole window
from now. So one that is as fast as the rate, on the average of a window, may go on for ever; one that stands still has the
window; one that moves a byte now and then has little more than that. Apache's mod_reqtimeout (``timeout=20,MinRate=500``)
counts like this.
"""

from __future__ import annotations


def paced(before: float, most: float, size: int, rate: int) -> float:
    """The new deadline of a peer that has moved ``size`` bytes.

    :param before: its deadline until now; NEVER where it was not waited for.
    :param most: a whole window from now.
    :param rate: bytes per second; 0: none is asked for, any byte earns a whole window.
    """
    return min(most, before + size / rate) if rate else most
