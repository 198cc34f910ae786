"""Every table and figure that ``heterad reproduce`` knows, by name."""

from __future__ import annotations

from heterad.experiments.ahl_protocols import AHL_TABLES
from heterad.experiments.meta_tables import META_TABLES
from heterad.experiments.table import Table

TABLES: dict[str, Table] = {table.name: table for table in (*META_TABLES, *AHL_TABLES)}
