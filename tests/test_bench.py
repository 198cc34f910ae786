"""The bench's own logic: what counts as reached, exit codes, comparison with a baseline, and that no op lacks a row."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

import heterad

BENCH = Path(__file__).resolve().parent.parent / "bench"
SHAPES = ("50x256", "10x784", "30x617", "250x115")


@pytest.fixture(autouse=True)
def on_path(monkeypatch):
    monkeypatch.syspath_prepend(str(BENCH))


def benchmark(row, provider, theirs, ours, *, work=1.0, ours_work=1.0, device="cpu", point=None):
    return {
        "stats": {"data": theirs},
        "extra_info": {
            "row": row, "op": row.split()[0], "device": device, "provider": provider, "smoke": False,
            "backend": "cpp", "work": work, "ours_work": ours_work, "beside": ours, "point": point,
        },
    }  # fmt: skip


def figure(row, value):
    info = {"row": row, "device": "cpu", "provider": "figure", "figure": value, "smoke": False}
    return {"stats": {"data": [1.0]}, "extra_info": info}


def write(path, *benchmarks, commit="abc"):
    machine = {"commit": commit, "threads": 2, "versions": {"torch": "2.13.0", "jax": "absent"}, "node": "secret-host"}
    path.write_text(json.dumps({"machine_info": machine, "datetime": "2026-01-01", "benchmarks": list(benchmarks)}))
    return str(path)


def eager(factors):
    rows = zip(SHAPES, factors, strict=False)
    return [benchmark(f"robust_ridge {s}", "eager", [f, 2 * f, f], [1.0, 2.0, 1.0]) for s, f in rows]


def report(*arguments):
    from report import main

    return main(list(arguments))


def test_ratios_are_taken_round_by_round(tmp_path):
    from results import load

    slow_phase = benchmark("roc_auc 10", "sklearn", [4.0, 40.0, 5.0], [1.0, 10.0, 1.0], work=0.5)
    entry = load([Path(write(tmp_path / "run.json", slow_phase))]).get("cpu", "roc_auc 10", "sklearn")
    assert entry.ratio == 2.0
    assert entry.seconds == 2.5
    assert entry.ours == 1.0


@pytest.mark.parametrize(
    ("factors", "state", "code"),
    [
        ((13, 13, 13, 13), "ok", 0),
        ((7, 7, 30, 30), "ok", 0),
        ((100, 100, 100, 5), "SHORT", 1),
        ((11, 11, 11, 11), "SHORT", 1),
        ((13, 13), "part", 0),
        ((5,), "SHORT", 1),
    ],
)
def test_a_target_asks_for_each_row_and_for_the_mean(tmp_path, capsys, factors, state, code):
    assert report(write(tmp_path / "run.json", *eager(factors))) == code
    line = next(line for line in capsys.readouterr().out.splitlines() if line.startswith("robust_ridge, one task"))
    assert line.endswith(state)
    assert "mean >= 12x, each >= 6x" in line


def test_of_several_rivals_the_fastest_counts(tmp_path, capsys):
    row = "robust_ridge 64 ragged of 50x256"
    rivals = [benchmark(row, name, [t], [1.0]) for name, t in (("hoisted", 9.0), ("hat", 2.0), ("compile", 5.0))]
    assert report(write(tmp_path / "run.json", *rivals)) == 1
    out = capsys.readouterr().out
    assert "50x256: 2x (hat)" in out
    assert "best of hoisted, hat, compile, jax" in out


def test_floors_and_figures_are_upper_bounds(tmp_path, capsys):
    rows = [
        benchmark("robust_ridge 64 ragged of 50x256", "floor", [10.0], [4.0], work=0.2),
        figure("smoothed_auc memory", 40.0),
        figure("smoothed_auc error", 3e-6),
        benchmark("smoothed_auc 1000000x1000000", "heterad", [3e-4], [3e-4], device="cuda"),
    ]
    assert report(write(tmp_path / "run.json", *rows)) == 1
    lines = [" ".join(line.split()) for line in capsys.readouterr().out.splitlines()]
    assert any("50x256: 2x;" in line and line.endswith("part") for line in lines)
    assert any(
        line.startswith("smoothed_auc 1M + 1M, extra memory 40 B a score") and line.endswith("ok") for line in lines
    )
    assert any("3e-06 <= 1e-06 SHORT" in line for line in lines)
    assert any("0.0003 s <= 0.0002 s SHORT" in line for line in lines)


def test_absent_peers_are_named_and_cost_nothing(tmp_path, capsys):
    own = [benchmark(f"robust_ridge {s}", "heterad", [1.0], [1.0]) for s in SHAPES]
    assert report(write(tmp_path / "run.json", *eager((13,) * 4), *own)) == 0
    out = capsys.readouterr().out
    assert "absent: jax" in out
    assert any(line.startswith("robust_ridge, one task") and line.endswith("no jax") for line in out.splitlines())
    assert "0 of 20 targets missed, 19 not run" in out


def test_a_smoke_run_is_shown_and_not_judged(tmp_path, capsys):
    assert report(write(tmp_path / "run.json", *eager((1,) * 4)), "--smoke") == 0
    assert "eager 1 s (1x)" in capsys.readouterr().out


def test_against_a_baseline(tmp_path, capsys):
    def own(seconds):
        return benchmark("roc_auc 10", "heterad", [seconds] * 3, [seconds, seconds, seconds * 1.02])

    saved = tmp_path / "saved.json"
    before = write(tmp_path / "before.json", own(1.0), commit="old")
    assert report(before, "--save", str(saved)) == 0
    assert "secret-host" not in saved.read_text()
    assert report(write(tmp_path / "same.json", own(1.09)), "--against", str(saved)) == 0
    assert "against commit old: 1 rows, median +9.0%; A/A over 1 rows" in capsys.readouterr().out
    assert report(write(tmp_path / "worse.json", own(1.2)), "--against", before) == 1
    assert "worse by more than 10%: roc_auc 10 [cpu]: 1 s -> 1.2 s" in capsys.readouterr().out


def test_a_comparison_of_nothing_is_no_pass(tmp_path, capsys):
    run = write(tmp_path / "run.json", benchmark("roc_auc 10", "heterad", [1.0], [1.0]))
    other = write(tmp_path / "other.json", benchmark("renamed 10", "heterad", [1.0], [1.0]))
    assert report(run, "--against", other) == 1
    assert "0 rows, so nothing is compared" in capsys.readouterr().out
    with pytest.raises(SystemExit, match="2"):
        report(run, "--smoke", "--against", run)
    assert "it takes no --against" in capsys.readouterr().err


@pytest.mark.parametrize("option", ["--threads", "--budget"])
def test_no_threads_and_no_time_are_refused(option):
    command = [sys.executable, "-m", "pytest", str(BENCH), "-p", "no:cacheprovider", "--collect-only", option, "0"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 4
    assert f"{option}: expected more than 0, got 0" in done.stderr


def test_later_files_replace_earlier_ones(tmp_path):
    files = [write(tmp_path / f"{i}.json", *eager(f)) for i, f in enumerate([(1,) * 4, (20,) * 4])]
    assert report(*files) == 0
    assert report(*reversed(files)) == 1


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "expected JSON"),
        ("[]", "expected pytest-benchmark's JSON"),
        ('{"machine_info": {}, "benchmarks": []}', "expected rows of this bench, got none"),
    ],
)
def test_foreign_files_are_refused(tmp_path, capsys, text, message):
    path = tmp_path / "bad.json"
    path.write_text(text)
    assert report(str(path)) == 2
    assert message in capsys.readouterr().err


def test_markdown_and_pictures(tmp_path, capsys):
    points = [
        benchmark("roc_auc " + str(n), p, [n * f], [n * 1e-9], point=n)
        for n in (10, 1000)
        for p, f in (("heterad", 1e-9), ("sklearn", 3e-9), ("floor", 5e-10))
    ]
    assert report(write(tmp_path / "run.json", *points), "--markdown", "--plot", str(tmp_path / "plots")) == 0
    out = capsys.readouterr().out
    assert "| work | against | reached | target |  |\n|---|---|---|---|---|" in out
    assert [p.name for p in (tmp_path / "plots").iterdir()] == ["roc_auc-cpu.png"]


def test_every_op_and_back_end_has_rows():
    from workloads import CPU, CUDA, ROWS, SMOKE

    ops = {name for name in heterad.ops.__all__ if name not in ("backend", "info")}
    for rows in (CPU, SMOKE):
        assert ops <= {row.op for row in rows}
    assert ops - {"roc_auc"} <= {row.op for row in CUDA}
    assert len(ROWS) == len(CPU) + len(CUDA) + len(SMOKE), "two rows share a name"


def test_every_target_names_rows_and_providers_that_exist():
    from figures import FIGURES
    from targets import TARGETS
    from workloads import CPU, CUDA

    for target in TARGETS:
        rows = {row.name: row for row in (CPU if target.device == "cpu" else CUDA)}
        for name in target.rows:
            if target.sense == "figure":
                assert name in FIGURES
                continue
            known = {"heterad", *rows[name].rivals} | ({"floor"} if rows[name].has_floor else set())
            assert set(target.against) <= known, f"{name}: {target.against}"


def test_the_floor_counts_real_rows_only():
    from rows_ops import ridge_flops

    one = ridge_flops(50, 256, 1, False)
    assert one == 3 * 10 * 2 * 50**2 * 256 + 6 * 50 * 32 * 256
    assert ridge_flops(50, 256, 4, False) == 4 * one
    assert one < ridge_flops(50, 256, 4, True) < 4 * one


def test_the_rule_on_values_refuses_a_wrong_row():
    import torch
    from test_rows import check
    from workloads import ROWS

    row = ROWS["smoke-cpu-roc_auc 101"]
    exact = [torch.tensor(0.75, dtype=torch.float64)]
    check(row, "heterad", [torch.tensor(0.75)], exact, exact)
    with pytest.raises(AssertionError, match="roc_auc 101, heterad: value 0 is off by"):
        check(row, "heterad", [torch.tensor(0.76)], exact, exact)


def test_a_check_that_dies_is_told():
    from check_gpu import apart

    (fault,) = apart("cpu", "no such op", "reference", slice(0, None, 1))
    assert fault.startswith("exit status 1: Traceback")
    assert "KeyError: 'no such op'" in fault
    assert apart("cpu", "soft_threshold", "reference", slice(0, None, 3)) == []


def test_report_runs_as_a_script():
    done = subprocess.run(
        [sys.executable, str(BENCH / "report.py"), "--help"], capture_output=True, text=True, check=True
    )
    assert "--against" in done.stdout
