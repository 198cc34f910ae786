"""The package as a whole: quiet and light to import, layered as designed, no unsafe loading, small files."""

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

import heterad

ROOT = Path(__file__).resolve().parent.parent
FLOORS = ["kernels", "ops", "nn", "data", "train", "methods", "detectors", "experiments", "cli"]
SOURCES = sorted((ROOT / "heterad").rglob("*.py")) + sorted((ROOT / "kernels").rglob("*.py"))


def floor(module: str) -> int | None:
    parts = module.split(".")
    return FLOORS.index(parts[1]) if parts[0] == "heterad" and len(parts) > 1 and parts[1] in FLOORS else None


def imported(path: Path):
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def test_import_is_quiet_and_light():
    code = (
        "import time, torch; start = time.perf_counter()\n"
        "import heterad.ops\n"
        "spent = time.perf_counter() - start\n"
        "import sys\n"
        "heavy = [name in sys.modules for name in ('triton', 'sklearn', 'torch._dynamo')]\n"
        "print(spent, *heavy, torch.cuda.is_initialized())"
    )
    spent = []
    for _ in range(3):
        done = subprocess.run([sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, check=True)
        seconds, *loaded = done.stdout.split()
        assert loaded == ["False"] * 4
        assert not done.stderr
        spent.append(float(seconds))
    assert min(spent) <= 0.2


def test_import_leaves_the_global_generator_alone():
    code = (
        "import torch; torch.manual_seed(3); before = torch.get_rng_state()\n"
        "import heterad, heterad.detectors; assert torch.equal(before, torch.get_rng_state())"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_each_floor_imports_only_from_below():
    up = []
    for path in SOURCES:
        relative = path.relative_to(ROOT)
        module = ".".join(relative.with_suffix("").parts)
        own = floor(module if module.startswith("heterad") else f"heterad.{module}")
        for target in imported(path):
            above = floor(target)
            if own is not None and above is not None and above > own:
                up.append(f"{relative} imports {target}")
    assert not up


def test_model_files_never_execute_code():
    unsafe = {"pickle", "cPickle", "dill", "joblib", "marshal", "shelve"}
    found = []
    for path in SOURCES:
        found += [f"{path}: {name}" for name in imported(path) if name.split(".")[0] in unsafe]
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and ast.unparse(node.func) in ("torch.load", "eval", "exec", "np.load"):
                found.append(f"{path}:{node.lineno}: {ast.unparse(node.func)}")
    assert not found


def test_files_are_small():
    paths = [p for top in ("heterad", "kernels", "csrc", "tests", "bench") for p in (ROOT / top).rglob("*")]
    sizes = {p: len(p.read_text().splitlines()) for p in paths if p.suffix in (".py", ".cpp", ".h", ".cu", ".cuh")}
    assert {str(p): n for p, n in sizes.items() if n > 500} == {}


def test_version_is_the_same_everywhere():
    text = (ROOT / "pyproject.toml").read_text()
    assert f'version = "{heterad.__version__}"' in text
    assert f"version: {heterad.__version__}" in (ROOT / "CITATION.cff").read_text()


def test_unknown_attribute():
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        heterad.nonsense  # noqa: B018


def test_runtime_dependencies_stay_four():
    text = (ROOT / "pyproject.toml").read_text()
    names = re.findall(r'"([a-z-]+)>=', re.search(r"^dependencies = \[(.*)\]$", text, re.M).group(1))
    assert names == ["torch", "numpy", "scikit-learn", "safetensors"]
