"""Settings of the whole suite; tests with the mark `gpu` run where a CUDA device is, and are skipped elsewhere."""

import os

os.environ.setdefault("SCIPY_ARRAY_API", "1")  # read when SciPy is imported: check_estimator skips a check without it

import pytest
import torch


def pytest_collection_modifyitems(items):
    if torch.cuda.is_available():
        return
    for item in items:
        if "gpu" in item.keywords:
            item.add_marker(pytest.mark.skip(reason="no CUDA device"))


@pytest.fixture(autouse=True)
def _one_thread():
    """One thread a test: on busy cores two wait for each other. Tests about threads set their own number."""
    torch.set_num_threads(1)
