"""Tasks and episodes, simulated anomaly distributions, protocols, and readers of real data."""

from heterad.data.arrays import read_arrays
from heterad.data.digits import rotated_digits
from heterad.data.images import ImageSet, read_image_folder
from heterad.data.partition import anomaly_distributions, cluster_normals
from heterad.data.protocol import one_class_tasks, source_rows, split_values, target_rows
from heterad.data.tasks import Episodes, TaskSet
from heterad.data.toy import toy_tasks

__all__ = [
    "Episodes",
    "ImageSet",
    "TaskSet",
    "anomaly_distributions",
    "cluster_normals",
    "one_class_tasks",
    "read_arrays",
    "read_image_folder",
    "rotated_digits",
    "source_rows",
    "split_values",
    "target_rows",
    "toy_tasks",
]
