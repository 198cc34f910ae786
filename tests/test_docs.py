"""What the documents say is true: code of pages (each in one namespace) and docstrings runs, links lead somewhere."""

import doctest
import importlib.util
import inspect
import os
import pkgutil
import re
import shlex
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import heterad
from heterad.data import toy_tasks
from heterad.data.tables import write_table
from heterad.detectors import image_features

ROOT = Path(__file__).resolve().parent.parent
PAGES = [*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").rglob("*.md")), ROOT / "heterad" / "ops" / "README.md"]
PAGES.append(ROOT / "bench" / "README.md")
ENGINES = {name: importlib.util.find_spec(name) for name in ("ray", "pyspark")}
MODULES = [m.name for m in pkgutil.walk_packages(heterad.__path__, "heterad.") if not m.name.endswith(("_C", "_cuda"))]
MODULES = [name for name in MODULES if not name.startswith("heterad.kernels")]

NOT_RUN = {
    r"pip install|pytest|\.ci/run|bench/": "they install, test or measure the whole: CI does so itself",
    r"heterad (reproduce|report) ": "hours, on data that must be fetched; tests/experiments runs their short forms",
    r"heterad\.experiments\.ahl_(speed|thresholds)": "minutes; tests/experiments runs their short forms",
    r"scontrol |srun ": "needs a SLURM cluster; the same page's torchrun commands run, with two processes",
    r"--device cuda": "needs a GPU; tests marked gpu and bench/gpu.sh train on one",
}
"""Shell commands of the pages that this file does not run, and why; every other one must run."""

SHORTER = {r"--nproc-per-node \d+": "--nproc-per-node 2", r"--ahl.size \d+": "--ahl.size 32"}


def blocks(page: Path) -> list[tuple[str, str]]:
    """Language and text of what the page shows as code; ``py`` needs an engine that may not be installed."""
    return re.findall(r"^```(python|py|bash|sh)\n(.*?)^```", page.read_text(), re.S | re.M)


def commands(code: str) -> list[str]:
    lines = (line.strip() for line in code.replace("\\\n", " ").splitlines())
    return [line for line in lines if line and not line.startswith("#")]


def run_command(line: str) -> None:
    """Run a command of the shell, in short form: in this process, or in two of torchrun."""
    from heterad.cli import run

    for long, short in SHORTER.items():
        line = re.sub(long, short, line)
    program, *arguments = shlex.split(os.path.expandvars(line), comments=True)
    if "fit" in arguments:
        arguments += ["--ahl.epochs", "1"] if "ahl" in arguments else ["--max-iter", "20"]
    if program == "torchrun":
        start = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
        done = subprocess.run([*start, *arguments], capture_output=True, text=True, timeout=300, check=False)
        assert done.returncode == 0, (line, done.stderr)
    else:
        assert program == "heterad", line
        assert run(arguments) == 0, line


def make_data(page: Path) -> None:
    """What the commands of the pages read: tables of the columns that they name, folders of these, and of images."""
    toy = toy_tasks(8, 30)
    columns = {"device": toy.groups} | {f"f{i}": column for i, column in enumerate(toy.x.T)}
    truth = {"truth": toy.anomalous.astype(int)}
    write_table("train.csv", columns | {"anomaly" if page.name == "ahl.md" else "label": toy.y})
    write_table("new.csv", columns | truth)
    for place, labels in (("readings", {"fault": toy.y}), ("new", {}), ("rows/site=0", truth), ("rows/site=1", truth)):
        Path(place).mkdir(parents=True)
        write_table(f"{place}/rows.csv", columns | labels)
    Path("scores").mkdir()
    if "bottle" in page.read_text():
        image = pytest.importorskip("PIL.Image", reason="Pillow is not installed")
        rng = np.random.default_rng(0)
        for kind, n in (("train/good", 6), ("test/good", 2), ("test/crack", 3)):
            folder = Path("bottle", kind)
            folder.mkdir(parents=True)
            for i in range(n):
                image.fromarray(rng.integers(0, 255, (40, 40, 3), np.uint8)).save(folder / f"{i}.png")


@pytest.mark.parametrize("page", [p for p in PAGES if blocks(p)], ids=lambda p: p.name)
@pytest.mark.filterwarnings("ignore:y. no seen anomaly:UserWarning")
def test_code_of_the_pages_runs(page, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SLURM_ARRAY_TASK_ID", "0")
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.setattr(image_features, "STEPS", 2)
    make_data(page)
    names = {"__name__": "page"}
    for language, code in blocks(page):
        if language in ("bash", "sh"):
            for line in commands(code):
                if not any(re.search(pattern, line) for pattern in NOT_RUN):
                    run_command(line)
        elif language == "python" or any(found and name in code for name, found in ENGINES.items()):
            exec(compile(code, page.name, "exec"), names)


@pytest.mark.parametrize("pattern", NOT_RUN)
def test_what_is_not_run_is_in_the_pages(pattern):
    shown = [line for page in PAGES for language, code in blocks(page) if "sh" in language for line in commands(code)]
    assert any(re.search(pattern, line) for line in shown)


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.name)
def test_links_lead_to_files(page):
    links = re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", page.read_text())
    assert [link for link in links if "://" not in link and not (page.parent / link).exists()] == []


@pytest.mark.parametrize("name", MODULES)
def test_docstring_examples_run(name):
    assert doctest.testmod(importlib.import_module(name), optionflags=doctest.NORMALIZE_WHITESPACE).failed == 0


@pytest.mark.parametrize("name", sorted(set(heterad.ops.__all__) - {"backend", "info"}))
def test_every_parameter_of_an_op_is_documented(name):
    function = getattr(heterad.ops, name)
    text = inspect.getdoc(function)
    for parameter in inspect.signature(function).parameters:
        assert re.search(rf"^    {parameter}: ", text, re.M), parameter
    assert all(f"\n{section}:\n" in text for section in ("Args", "Returns", "Raises", "Cost", "Example"))
