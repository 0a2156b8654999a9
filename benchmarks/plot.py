"""The overview as a picture: bars of CPU time per request, nginx with upstream keep-alive being 1. SVG, written by hand."""

from __future__ import annotations

from html import escape
from statistics import median
from typing import Dict, List

from benchmarks.contestants import BASELINE
from benchmarks.report import Run
from benchmarks.rounds import cpu

BAR, GAP, ROW_GAP, TITLE = 13, 3, 22, 18
LABEL_WIDTH, PLOT_WIDTH, MARGIN = 210, 560, 24
MOST = 4.0
"""Longer bars are cut here: what is so far off would make the others unreadable."""

COLOURS: Dict[str, str] = {"xproxy": "#c2410c", "xproxy-pypy": "#ea580c", BASELINE: "#15803d", "nginx-connect": "#86b58f"}
OTHER = "#94a3b8"


def svg(run: Run) -> str:
    """The picture."""
    parts: List[str] = []
    y = MARGIN + TITLE
    scale = PLOT_WIDTH / MOST
    for result in run.results:
        names = [name for name in run.titles if result.ratios(name, cpu)]
        if not names:
            continue
        parts.append(f'<text x="{MARGIN}" y="{y}" font-weight="bold">{escape(result.row.title)}</text>')
        y += 8
        for name in names:
            ratio = median(result.ratios(name, cpu))
            width = min(ratio, MOST) * scale
            shown = f"{ratio:.2f}" + (" →" if ratio > MOST else "")
            parts.append(f'<text x="{LABEL_WIDTH - 6}" y="{y + BAR - 3}" text-anchor="end">{escape(run.titles[name])}</text>')
            parts.append(
                f'<rect x="{LABEL_WIDTH}" y="{y}" width="{width:.1f}" height="{BAR}" fill="{COLOURS.get(name, OTHER)}"/>'
                f'<text x="{LABEL_WIDTH + width + 4:.1f}" y="{y + BAR - 3}">{shown}</text>'
            )
            y += BAR + GAP
        y += ROW_GAP
    width = LABEL_WIDTH + PLOT_WIDTH + 3 * MARGIN
    one = LABEL_WIDTH + scale
    head = "CPU time of the proxy per request, as a multiple of nginx with upstream keep-alive (less is better)"
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{y}" viewBox="0 0 {width} {y}"'
            ' font-family="sans-serif" font-size="11" fill="#1f2937">',
            f'<rect width="{width}" height="{y}" fill="white"/>',
            f'<text x="{MARGIN}" y="{MARGIN - 6}" font-size="13">{head}</text>',
            f'<line x1="{one}" y1="{MARGIN}" x2="{one}" y2="{y - ROW_GAP}" stroke="#15803d" stroke-dasharray="3 3"/>',
            *parts,
            "</svg>\n",
        ]
    )
