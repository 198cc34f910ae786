"""Builds heterad._C (C++, pybind11 alone) and, where nvcc is found, heterad._cuda. Neither sees a torch header.

HETERAD_NO_EXT=1      install without compiled code; the reference path serves every op
HETERAD_SANITIZE=1    address and undefined-behaviour sanitisers
HETERAD_CUDA_ARCHS    compute capabilities to build for, default "80;90", the last for newer ones too;
                      empty: no CUDA extension
"""

import os
import platform
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from itertools import chain
from pathlib import Path

from pybind11.setup_helpers import Pybind11Extension
from setuptools import setup
from setuptools.command.build_ext import build_ext

ISAS = {"baseline": []}
if platform.machine() in ("x86_64", "AMD64"):
    ISAS["avx2"] = ["-mavx2", "-mfma"]
    ISAS["avx512"] = ["-mavx512f", "-mavx512dq", "-mavx512bw", "-mavx512vl", "-mfma", "-mprefer-vector-width=512"]

KERNELS = sorted(str(p) for p in Path("csrc").glob("*.cpp") if p.name not in ("bindings.cpp", "isa.cpp"))
HEADERS = sorted(str(p) for p in Path("csrc").rglob("*.h")) + sorted(str(p) for p in Path("csrc").rglob("*.cuh"))
FLAGS = ["-std=c++17", "-O3", "-fopenmp", "-fvisibility=hidden", "-fno-math-errno", "-fno-trapping-math", "-g0"]
SANITIZE = ["-fsanitize=address,undefined", "-fno-sanitize-recover=undefined", "-O1", "-g"]


class BuildExt(build_ext):
    """Compiles every kernel source once per instruction set; a failure leaves a package that runs on the reference."""

    def build_extension(self, ext):
        try:
            (self._build_cuda if ext.name.endswith("_cuda") else self._build_cpu)(ext)
        except Exception as error:
            print(f"warning: {ext.name} was not built, slower paths will serve its ops: {error}", file=sys.stderr)

    def _build_cpu(self, ext):
        flags = FLAGS + (SANITIZE if os.environ.get("HETERAD_SANITIZE") == "1" else [])
        jobs = [(source, flags, "") for source in ("csrc/bindings.cpp", "csrc/isa.cpp")]
        jobs += [(source, [*flags, *isa_flags], isa) for isa, isa_flags in ISAS.items() for source in KERNELS]
        with ThreadPoolExecutor(os.cpu_count()) as pool:  # of compilers: each is a process of its own
            objects = list(chain.from_iterable(pool.map(lambda job: self._compile(ext, *job), jobs)))
        self._link(objects, ext, [f for f in flags if f.startswith(("-fopenmp", "-fsanitize"))])

    def _compile(self, ext, source, flags, isa):
        return self.compiler.compile(
            [source],
            output_dir=os.path.join(self.build_temp, isa),
            macros=[("HETERAD_ISA", isa)] if isa else [],
            include_dirs=ext.include_dirs,
            extra_postargs=flags,
            depends=ext.depends,
        )

    def _build_cuda(self, ext):
        nvcc = find_nvcc()
        include = [f"-I{path}" for path in ext.include_dirs]
        *_, last = cuda_archs()
        archs = [f"-gencode=arch=compute_{a},code=sm_{a}" for a in cuda_archs()]
        archs.append(f"-gencode=arch=compute_{last},code=compute_{last}")  # what newer devices compile for themselves
        objects = self.compiler.compile(
            ["csrc/cuda/bindings.cpp"],
            output_dir=self.build_temp,
            include_dirs=ext.include_dirs,
            extra_postargs=["-std=c++17", "-O2", "-fvisibility=hidden"],
            depends=ext.depends,
        )
        flags = ["-std=c++17", "-O3", "-Xcompiler", "-fPIC,-fvisibility=hidden", "-lineinfo", "--threads=0"]
        place = Path(self.build_temp, "csrc", "cuda")
        place.mkdir(parents=True, exist_ok=True)

        def compiled(source):
            target = str(place / f"{source.name}.o")
            subprocess.run([nvcc, *flags, *archs, *include, "-c", str(source), "-o", target], check=True)
            return target

        with ThreadPoolExecutor() as pool:
            objects += pool.map(compiled, sorted(Path("csrc/cuda").glob("*.cu")))
        toolkit = Path(nvcc).resolve().parent.parent
        places = [f"-L{toolkit / name}" for name in ("lib64", "lib")]
        self._link(objects, ext, [*places, "-lcudart_static", "-ldl", "-lrt", "-lpthread"])

    def _link(self, objects, ext, flags):
        path = self.get_ext_fullpath(ext.name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        self.compiler.link_shared_object(objects, path, extra_postargs=flags, target_lang="c++")

    def copy_extensions_to_source(self):
        built = [
            e for e in self.extensions if os.path.exists(os.path.join(self.build_lib, self.get_ext_filename(e.name)))
        ]
        self.extensions, every = built, self.extensions
        super().copy_extensions_to_source()
        self.extensions = every


def find_nvcc():
    """The real nvcc, or None: a wrapper script in PATH does not tell where its toolkit lies."""
    homes = [os.environ.get("CUDA_HOME"), "/usr/local/cuda"]
    candidates = [os.path.join(home, "bin", "nvcc") for home in homes if home] + [shutil.which("nvcc")]
    for path in candidates:
        if (
            path
            and os.path.exists(path)
            and (Path(path).resolve().parent.parent / "include" / "cuda_runtime.h").exists()
        ):
            return path
    return None


def cuda_archs():
    return [a.strip() for a in os.environ.get("HETERAD_CUDA_ARCHS", "80;90").split(";") if a.strip()]


def extensions():
    if os.environ.get("HETERAD_NO_EXT") == "1":
        return []
    found = [Pybind11Extension("heterad._C", ["csrc/bindings.cpp"], include_dirs=["csrc"], depends=HEADERS)]
    if find_nvcc() and cuda_archs() and list(Path("csrc/cuda").glob("*.cu")):
        toolkit = Path(find_nvcc()).resolve().parent.parent
        found.append(
            Pybind11Extension(
                "heterad._cuda",
                ["csrc/cuda/bindings.cpp"],
                include_dirs=["csrc", str(toolkit / "include")],
                depends=HEADERS,
            )
        )
    return found


setup(ext_modules=extensions(), cmdclass={"build_ext": BuildExt})
