"""The kernels of csrc/cuda as they are written, compiled for the CPU by a small emulation of CUDA."""

from __future__ import annotations

import ctypes
import shutil
import subprocess
from pathlib import Path

from torch import Tensor

ROOT = Path(__file__).parents[2]


def emulated(op: str, folder: Path, *options: str) -> ctypes.CDLL:
    """The functions ``<op>_f32`` and ``<op>_f64`` of emulated/<op>.cpp, which return an error's text or None."""
    compiler = shutil.which("g++") or shutil.which("c++")
    assert compiler, "the emulation needs a C++ compiler, as the installation of the CPU kernels does"
    path, here = folder / f"{op}.so", ROOT / "tests/cuda/emulated"
    command = [compiler, "-w", "-std=c++17", "-O1", "-shared", "-fPIC", f"-I{here}", f"-I{ROOT / 'csrc'}"]
    subprocess.run([*command, *options, here / f"{op}.cpp", "-o", path], check=True)
    library = ctypes.CDLL(str(path))
    for dtype in ("f32", "f64"):
        getattr(library, f"{op}_{dtype}").restype = ctypes.c_char_p
    return library


def address(t: Tensor | None) -> ctypes.c_void_p:
    """Where a contiguous tensor's numbers begin; null without one."""
    return ctypes.c_void_p(None if t is None else t.data_ptr())
