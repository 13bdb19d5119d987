"""Letters that Spark folds in another way than DuckDB → texts for `translate` that keep them as DuckDB has them.

Spark writes `ß` as `SS`, looks at a letter's neighbours, and knows letters that came to Unicode later. Such letters are
hidden behind private characters while the rest is folded.
"""

from __future__ import annotations

from typing import Final

__all__ = ["LOWER", "UPPER"]

# From, to, how many in a row: found by folding every character with DuckDB 2.0, Spark 4.2 and Sail 0.7.
_UPPER: Final = (
    (0xDF, 0x1E9E, 1), (0x149, 0x149, 1), (0x19B, 0x19B, 1), (0x1F0, 0x1F0, 1), (0x264, 0x264, 1), (0x390, 0x390, 1),
    (0x3B0, 0x3B0, 1), (0x587, 0x587, 1), (0x1C8A, 0x1C8A, 1), (0x1E96, 0x1E96, 5), (0x1F50, 0x1F50, 1),
    (0x1F52, 0x1F52, 1), (0x1F54, 0x1F54, 1), (0x1F56, 0x1F56, 1), (0x1F80, 0x1F88, 8), (0x1F88, 0x1F88, 8),
    (0x1F90, 0x1F98, 8), (0x1F98, 0x1F98, 8), (0x1FA0, 0x1FA8, 8), (0x1FA8, 0x1FA8, 8), (0x1FB2, 0x1FB2, 1),
    (0x1FB3, 0x1FBC, 1), (0x1FB4, 0x1FB4, 1), (0x1FB6, 0x1FB6, 2), (0x1FBC, 0x1FBC, 1), (0x1FC2, 0x1FC2, 1),
    (0x1FC3, 0x1FCC, 1), (0x1FC4, 0x1FC4, 1), (0x1FC6, 0x1FC6, 2), (0x1FCC, 0x1FCC, 1), (0x1FD2, 0x1FD2, 2),
    (0x1FD6, 0x1FD6, 2), (0x1FE2, 0x1FE2, 3), (0x1FE6, 0x1FE6, 2), (0x1FF2, 0x1FF2, 1), (0x1FF3, 0x1FFC, 1),
    (0x1FF4, 0x1FF4, 1), (0x1FF6, 0x1FF6, 2), (0x1FFC, 0x1FFC, 1), (0xA7CD, 0xA7CD, 1), (0xA7CF, 0xA7CF, 1),
    (0xA7D3, 0xA7D3, 1), (0xA7D5, 0xA7D5, 1), (0xA7DB, 0xA7DB, 1), (0xFB00, 0xFB00, 7), (0xFB13, 0xFB13, 5),
    (0x10D70, 0x10D70, 22), (0x16EBB, 0x16EBB, 25),
)  # fmt: skip
_LOWER: Final = (
    (0x130, 0x69, 1), (0x3A3, 0x3C3, 1), (0x1C89, 0x1C89, 1), (0xA7CB, 0xA7CB, 2), (0xA7CE, 0xA7CE, 1),
    (0xA7D2, 0xA7D2, 1), (0xA7D4, 0xA7D4, 1), (0xA7DA, 0xA7DA, 1), (0xA7DC, 0xA7DC, 1), (0x10D50, 0x10D50, 22),
    (0x16EA0, 0x16EA0, 25),
)  # fmt: skip
_PRIVATE: Final = 0xF600  # where the stand-ins begin, in the area that Unicode gives to nobody


def _folded(function: str, runs: tuple[tuple[int, int, int], ...]) -> str:
    """The call, with `{0}` for the text."""
    letters = [(start + i, end + i) for start, end, count in runs for i in range(count)]
    these = "".join(chr(letter) for letter, _ in letters)
    hidden = "".join(chr(_PRIVATE + number) for number in range(len(letters)))
    shown = "".join(chr(folded) for _, folded in letters)
    return f"translate({function}(translate({{0}}, '{these}', '{hidden}')), '{hidden}', '{shown}')"


UPPER: Final = _folded("upper", _UPPER)
LOWER: Final = _folded("lower", _LOWER)
