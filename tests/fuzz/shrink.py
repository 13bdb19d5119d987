"""A query that shows a fault → a smaller one that shows the same: the product's own, which `rls leaks` uses too."""

from __future__ import annotations

from rls.lab.leaks.shrink import shrink

__all__ = ["shrink"]
