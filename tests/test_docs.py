"""What the documents say is true: code of pages (each in one namespace) and docstrings runs, links lead somewhere."""

import doctest
import importlib.util
import inspect
import pkgutil
import re
import shlex
from pathlib import Path

import pytest

import heterad
from heterad.data import toy_tasks
from heterad.data.tables import write_table

ROOT = Path(__file__).resolve().parent.parent
PAGES = [*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").rglob("*.md")), ROOT / "heterad" / "ops" / "README.md"]
COMMAND = re.compile(r"^heterad (?:fit|score|plot|info) .*$", re.M)
COMMANDED = ("index.md", "long-runs.md")  # pages whose commands run too, on tables with these columns
ENGINES = {name: importlib.util.find_spec(name) for name in ("ray", "pyspark")}
MODULES = [m.name for m in pkgutil.walk_packages(heterad.__path__, "heterad.") if not m.name.endswith(("_C", "_cuda"))]
MODULES = [name for name in MODULES if not name.startswith("heterad.kernels")]


def blocks(page: Path) -> list[tuple[str, str]]:
    """Language and text of what the page shows as code; ``py`` needs an engine that may not be installed."""
    return re.findall(r"^```(python|py|bash)\n(.*?)^```", page.read_text(), re.S | re.M)


def run_command(line: str) -> None:
    from heterad.cli import run

    arguments = shlex.split(line, comments=True)[1:]
    assert run([*arguments, *(["--max-iter", "20"] if arguments[0] == "fit" else [])]) == 0, line


@pytest.mark.parametrize("page", [p for p in PAGES if blocks(p)], ids=lambda p: p.name)
def test_code_of_the_pages_runs(page, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    toy = toy_tasks(8, 30)
    columns = {f"f{i}": column for i, column in enumerate(toy.x.T)}
    write_table("train.csv", {"device": toy.groups, "label": toy.y} | columns)
    write_table("new.csv", {"device": toy.groups, "truth": toy.anomalous.astype(int)} | columns)
    names = {"__name__": "page"}
    for language, code in blocks(page):
        if language == "bash" and page.name in COMMANDED:
            for line in COMMAND.findall(code):
                run_command(line)
        elif language == "python" or (
            language == "py" and any(found and name in code for name, found in ENGINES.items())
        ):
            exec(compile(code, page.name, "exec"), names)


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
