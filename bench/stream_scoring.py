"""Memory and rate of scoring a large file by tasks, beside PyOD's IForest and ECOD in the same run.

    OMP_NUM_THREADS=2 python bench/stream_scoring.py --rows 20000000 --out bench/results/stream_scoring.json

Makes a Parquet file of float32 columns in a temporary folder, or in ``--folder``, where it stays; its tasks are spread
over all of it. A process of its own scores it; the kernel tells its peak of resident memory, with imports. The others
score the batches of the same file until a time is up; reading is not counted for them, and all is for heterad.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import platform
import resource
import tempfile
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

GROUP = 1 << 18  # rows of a row group
OTHERS = {"IForest": "pyod.models.iforest", "ECOD": "pyod.models.ecod"}


def make(path: Path, n_rows: int, n_columns: int, n_tasks: int) -> None:
    """Correlated normal rows around a centre for each task, one in a hundred of them shifted in two columns."""
    rng = np.random.default_rng(0)
    centres = rng.normal(size=(n_tasks, n_columns)).astype(np.float32) * 3
    mix = rng.normal(size=(n_columns, n_columns)).astype(np.float32) / n_columns**0.5
    names = [f"f{i}" for i in range(n_columns)]
    schema = pa.schema([("task", pa.string()), *((name, pa.float32()) for name in names)])
    labels = pa.array([f"device-{i}" for i in range(n_tasks)])
    with pq.ParquetWriter(path, schema) as writer:
        for first in range(0, n_rows, GROUP):
            n = min(GROUP, n_rows - first)
            task = rng.integers(0, n_tasks, n)
            x = rng.standard_normal((n, n_columns), dtype=np.float32) @ mix + centres[task]
            x[rng.random(n) < 0.01, :2] += 4
            writer.write_table(pa.table([labels.take(pa.array(task)), *x.T], schema=schema))


def fit_model(path: Path, n_columns: int) -> None:
    from heterad import RobustMetaDetector

    rng = np.random.default_rng(1)
    groups = np.repeat(np.arange(30), 100)
    X = rng.normal(size=(3000, n_columns)) + rng.normal(size=(30, n_columns))[groups] * 3
    y = rng.choice([0, -1], 3000)
    frame = pa.table(list(X.T), names=[f"f{i}" for i in range(n_columns)])
    RobustMetaDetector(max_iter=50).fit(frame, y, groups).save(path)


def heterad_run(folder: str, explain: int, send) -> None:
    from heterad.detectors import RobustMetaDetector, score_files

    detector = RobustMetaDetector.load(Path(folder) / "model.safetensors")
    started = time.perf_counter()
    stages: dict[str, float] = {}

    def report(stage: str, done: int, total: int) -> None:
        stages[stage] = round(time.perf_counter() - started, 1)

    data, out = Path(folder) / "rows.parquet", Path(folder) / "scores.parquet"
    found = score_files(detector, data, out, task="task", explain=explain, report=report)
    seconds = time.perf_counter() - started
    send.send(
        {
            "rows_per_second": round(found.n_rows / seconds),
            "seconds": round(seconds, 1),
            "until": stages,
            "tasks": found.n_tasks,
            "output_MB": round(out.stat().st_size / 1e6, 1),
            "peak_rss_MiB": _peak(),
        }
    )


def pyod_run(folder: str, name: str, seconds: float, send) -> None:
    """Rows per second of ``decision_function`` after a fit to the first 100,000 rows."""
    try:
        module = __import__(OTHERS[name], fromlist=[name])
    except ModuleNotFoundError as error:
        send.send({"skipped": f"{error.name} is not installed"})
        return
    file = pq.ParquetFile(Path(folder) / "rows.parquet")
    names = [column for column in file.schema_arrow.names if column != "task"]
    batches = (np.stack([c.to_numpy() for c in batch.columns], 1) for batch in file.iter_batches(65_536, columns=names))
    train = np.concatenate([next(batches), next(batches)])[:100_000]
    started = time.perf_counter()
    detector = getattr(module, name)().fit(train)
    fitted, n_rows, spent = time.perf_counter() - started, 0, 0.0
    for x in batches:
        started = time.perf_counter()
        detector.decision_function(x)
        n_rows, spent = n_rows + len(x), spent + time.perf_counter() - started
        if spent > seconds:
            break
    send.send({"rows_per_second": round(n_rows / spent), "rows": n_rows, "fit_seconds": round(fitted, 1)})


def _peak() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024


def alone(function, *arguments):
    """What a function sends from a fresh process."""
    context = multiprocessing.get_context("spawn")
    receive, send = context.Pipe(duplex=False)
    process = context.Process(target=function, args=(*arguments, send))
    process.start()
    send.close()
    try:
        return receive.recv()
    except EOFError:
        raise SystemExit(f"{function.__name__} ended without an answer") from None
    finally:
        process.join()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=2_000_000)
    parser.add_argument("--columns", type=int, default=32)
    parser.add_argument("--tasks", type=int, default=1000)
    parser.add_argument("--explain", type=int, default=0)
    parser.add_argument("--seconds", type=float, default=20, help="time for each of the others")
    parser.add_argument("--out", type=Path, help="JSON file to write")
    parser.add_argument("--folder", type=Path, help="where to make the file, and leave it for the next run")
    options = parser.parse_args()
    if options.folder is not None:
        options.folder.mkdir(parents=True, exist_ok=True)
        return measure(options.folder, options)
    with tempfile.TemporaryDirectory() as folder:
        measure(Path(folder), options)


def measure(folder: Path, options: argparse.Namespace) -> None:
    data, model = folder / "rows.parquet", folder / "model.safetensors"
    if not data.exists():
        make(data, options.rows, options.columns, options.tasks)
    if not model.exists():
        fit_model(model, options.columns)
    found = {
        "rows": pq.read_metadata(data).num_rows,
        "columns": options.columns,
        "explain": options.explain,
        "input_MB": round(data.stat().st_size / 1e6),
        "machine": f"{platform.machine()}, {os.cpu_count()} cores, OMP_NUM_THREADS="
        f"{os.environ.get('OMP_NUM_THREADS', 'unset')}, load {os.getloadavg()[0]:.1f}",
    }
    for name in OTHERS:
        found[f"PyOD {name}"] = alone(pyod_run, str(folder), name, options.seconds)
    found["heterad"] = alone(heterad_run, str(folder), options.explain)
    text = json.dumps(found, indent=1)
    print(text)
    if options.out is not None:
        options.out.parent.mkdir(parents=True, exist_ok=True)
        options.out.write_text(text + "\n")


if __name__ == "__main__":
    main()
