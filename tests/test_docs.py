"""What the documents say is true: Python blocks and docstrings run, links lead somewhere, parameters are described."""

import doctest
import importlib
import inspect
import pkgutil
import re
from pathlib import Path

import pytest

import heterad

ROOT = Path(__file__).resolve().parent.parent
PAGES = [*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").rglob("*.md")), ROOT / "heterad" / "ops" / "README.md"]
BLOCKS = [
    pytest.param(code, id=f"{page.name}-{i}")
    for page in PAGES
    for i, code in enumerate(re.findall(r"```python\n(.*?)```", page.read_text(), re.S))
]
MODULES = [m.name for m in pkgutil.walk_packages(heterad.__path__, "heterad.") if not m.name.endswith(("_C", "_cuda"))]
MODULES = [name for name in MODULES if not name.startswith("heterad.kernels")]


@pytest.mark.parametrize("code", BLOCKS)
def test_python_of_the_pages_runs(code, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    exec(compile(code, "page", "exec"), {"__name__": "page"})


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
