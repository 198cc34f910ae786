"""Adapted detectors as programs: the same scores, in a process that has no heterad."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

from heterad.detectors import RobustMetaDetector

SERVICE = """
import sys
sys.modules["heterad"] = None  # importing it fails
import numpy as np, torch
score = torch.export.load(sys.argv[1]).module()
x = torch.from_numpy(np.load(sys.argv[2]))
scores, labels = score(x)
one, _ = score(x[:1])
np.savez(sys.argv[3], scores=scores.numpy(), labels=labels.numpy(), one=one.numpy())
program = torch.export.load(sys.argv[1])
print({node.target.namespace for node in program.graph.nodes if node.op == "call_function"})
"""


@pytest.mark.parametrize("scale", ["standard", None])
def test_a_service_needs_torch_alone(fitted, source, target, tmp_path, scale) -> None:
    if scale is None:
        fitted = RobustMetaDetector(max_iter=3, scale=None).fit(source.x, source.y, source.groups)
    task = fitted.adapt(target.x[:60]).set_threshold(contamination=0.2)
    x = np.concatenate([target.x, target.x * 30])
    task.export(tmp_path / "task.pt2")
    np.save(tmp_path / "x.npy", x)
    done = subprocess.run(
        [sys.executable, "-c", SERVICE, *(str(tmp_path / name) for name in ("task.pt2", "x.npy", "found.npz"))],
        capture_output=True,
        text=True,
        check=False,
        cwd=tmp_path,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == "{'aten'}\n"
    with np.load(tmp_path / "found.npz") as found:
        np.testing.assert_allclose(found["scores"], task.decision_function(x), rtol=1e-9)
        np.testing.assert_array_equal(found["labels"], task.predict(x))
        np.testing.assert_allclose(found["one"], found["scores"][:1], rtol=1e-12)


def test_a_failed_export_leaves_the_old_file(fitted, target, tmp_path, monkeypatch) -> None:
    path = tmp_path / "task.pt2"
    path.write_text("old")
    monkeypatch.setattr("torch.export.save", lambda *_: (_ for _ in ()).throw(OSError("disk full")))
    with pytest.raises(OSError, match="disk full"):
        fitted.adapt(target.x[:60]).export(path)
    assert path.read_text() == "old"
