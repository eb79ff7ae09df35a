"""Summary statistics of measurements, and tables in Markdown."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil

NANOSECONDS = 1e-9


@dataclass(frozen=True, slots=True)
class Figures:
    """Repeated measurements of one duration, in seconds."""

    seconds: Sequence[float]

    @property
    def median(self) -> float:
        return self.percentile(50)

    def percentile(self, percent: float) -> float:
        """Return the smallest measurement that `percent` per cent of them do not exceed."""
        ordered = sorted(self.seconds)
        return ordered[max(ceil(len(ordered) * percent / 100) - 1, 0)]


def milliseconds(seconds: float) -> str:
    return f"{seconds * 1e3:,.0f}" if seconds >= 1 else f"{seconds * 1e3:.2f}"


def show(title: str, headings: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print a table in Markdown, with the load average that its reliability depends on."""
    widths = [max(len(row[column]) for row in (headings, *rows)) for column in range(len(headings))]
    lines = [headings, ["-" * width for width in widths], *rows]
    print(f"\n{title} (load {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores)\n")
    for line in lines:
        print("| " + " | ".join(cell.ljust(w) for cell, w in zip(line, widths, strict=True)) + " |")
