"""The kernels on the CPU: test_results.py once more, in a process where Triton interprets and memory is watched."""

import os
import subprocess
import sys
from pathlib import Path


def test_kernels_under_the_interpreter():
    here = Path(__file__).parent
    env = {**os.environ, "TRITON_INTERPRET": "1", "OMP_NUM_THREADS": "2"}
    env.pop("HETERAD_BACKEND", None)
    files = [str(here / name) for name in ("test_memory.py", "test_results.py")]
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *files]
    done = subprocess.run(command, cwd=here.parents[1], env=env, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stdout[-8000:] + done.stderr[-2000:]
    assert " passed" in done.stdout
    assert "skipped" not in done.stdout, done.stdout[-2000:]
