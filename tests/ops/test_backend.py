"""Choice of back end: automatic choice falls back, a named one raises with the reason."""

import os
import subprocess
import sys
from types import SimpleNamespace

import pytest
import torch

import heterad
from heterad.ops import _backend

OPS = ("deviation_loss", "ridge_solve", "robust_ridge", "roc_auc", "smoothed_auc", "soft_threshold")


def run(code: str, **env: str) -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, **env},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def test_info_has_a_row_for_every_op_and_device():
    rows = heterad.ops.info()
    assert {(op, device) for op, device, *_ in rows} == {(op, device) for op in OPS for device in ("cpu", "cuda")}
    assert all(reason for *_, reason in rows)
    lines = repr(rows).splitlines()
    assert lines[0].split() == ["op", "device", "back", "end", "why"]
    assert len(lines) == len(rows) + 1


def test_reference_can_be_asked_for():
    with heterad.ops.backend("reference"):
        assert {row[2] for row in heterad.ops.info()} == {"reference"}
        assert _backend.choose("soft_threshold", "cpu") == "reference"


def test_a_named_back_end_that_cannot_run_raises_with_the_reason():
    with (
        heterad.ops.backend("triton"),
        pytest.raises(RuntimeError, match=r"'triton' was asked for.*smoothed_auc has no triton"),
    ):
        heterad.ops.smoothed_auc(torch.ones(2), torch.ones(2))
    with (
        heterad.ops.backend("cuda"),
        pytest.raises(RuntimeError, match=r"'cuda' was asked for and cannot serve soft_threshold"),
    ):
        heterad.ops.soft_threshold(torch.ones(2), 0.5)


def test_unknown_names_are_refused():
    with (
        pytest.raises(ValueError, match=r"name: expected one of auto, reference.*got 'fast'"),
        heterad.ops.backend("fast"),
    ):
        pass
    done = run("import heterad.ops", HETERAD_BACKEND="fast")
    assert "HETERAD_BACKEND: expected one of auto, reference" in done.stderr


def test_the_variable_names_the_back_end_of_the_process():
    code = "import heterad; print({row[2] for row in heterad.ops.info()})"
    assert run(code, HETERAD_BACKEND="reference").stdout.strip() == "{'reference'}"


def test_without_compiled_code_the_reference_runs_and_says_why():
    code = "import heterad; print(*[row for row in heterad.ops.info() if row[1] == 'cpu'], sep='\\n')"
    out = run(code, HETERAD_NO_EXT="1").stdout
    assert out.count("'reference', 'cpp: HETERAD_NO_EXT=1'") == len(OPS), out


@pytest.mark.parametrize("fault", [None, "no kernel image is available for execution on the device"])
def test_a_device_that_the_extension_was_not_built_for_falls_back(monkeypatch, fault):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setitem(sys.modules, "heterad._cuda", SimpleNamespace(why_not=lambda: fault))
    monkeypatch.delenv("HETERAD_NO_EXT", raising=False)
    assert _backend.why_not.__wrapped__("cuda") == fault


def test_the_lower_instruction_sets_can_be_asked_for():
    if _backend.why_not("cpp"):
        return
    for isa in ("baseline", "avx2"):
        out = run("from heterad import _C; print(_C.isa())", HETERAD_ISA=isa).stdout.strip()
        assert out in (isa, "baseline")


def test_a_fall_back_is_logged_once():
    code = (
        "import logging, torch; logging.basicConfig(level=logging.DEBUG)\n"
        "import heterad.ops as ops\n"
        "for _ in range(3): ops.soft_threshold(torch.ones(2), 0.5)"
    )
    assert run(code, HETERAD_NO_EXT="1").stderr.count("soft_threshold on cpu runs on the reference") == 1
