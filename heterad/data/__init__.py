"""Tasks and episodes, the paper's protocol, and real data that need no download."""

from heterad.data.digits import rotated_digits
from heterad.data.protocol import one_class_tasks, source_rows, split_values, target_rows
from heterad.data.tasks import Episodes, TaskSet
from heterad.data.toy import toy_tasks

__all__ = [
    "Episodes",
    "TaskSet",
    "one_class_tasks",
    "rotated_digits",
    "source_rows",
    "split_values",
    "target_rows",
    "toy_tasks",
]
