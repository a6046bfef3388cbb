"""Numbers as people read them."""

from __future__ import annotations


def counted(number: int, one: str, many: str = "") -> str:
    """Return `1 commit`, `4,668 commits`."""
    return f"{number:,} {one if number == 1 else many or one + 's'}"


def binary_size(size_bytes: int) -> str:
    """Return `12.3 MiB`."""
    size = float(size_bytes)
    for unit in ("B", "KiB", "MiB"):
        if size < 1024:
            return f"{size:,.0f} B" if unit == "B" else f"{size:,.1f} {unit}"
        size /= 1024
    return f"{size:,.1f} GiB"


def amount(number: int, unit: str) -> str:
    """Return `4,668 records`; of `bytes`, `12.3 MiB`."""
    return binary_size(number) if unit == "bytes" else f"{number:,} {unit}"


def duration(elapsed_s: float) -> str:
    """Return `1.24 s`, or `8.1 ms` below a second."""
    return f"{elapsed_s:,.2f} s" if elapsed_s >= 1 else f"{elapsed_s * 1000:,.1f} ms"
