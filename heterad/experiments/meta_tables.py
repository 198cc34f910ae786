"""The tables of Kumagai et al. (2023)."""

from __future__ import annotations

from heterad.experiments.table import Table

META_TABLES: tuple[Table, ...] = ()
