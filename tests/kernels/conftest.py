"""Without triton nothing here is collected; under its interpreter only what the interpreter can run is."""

import importlib.util
import os

collect_ignore_glob: list[str] = []

if importlib.util.find_spec("triton") is None:
    collect_ignore_glob = ["*.py"]
elif os.environ.get("TRITON_INTERPRET") == "1":
    collect_ignore_glob = ["test_interpreted.py", "test_compiled.py"]

    import numpy as np
    import torch
    import triton.language as tl
    from triton.runtime import interpreter

    truncate = interpreter._convert_float

    def round_to_nearest(value, source, target, mode):
        """As the hardware rounds: the interpreter cuts float32 off to bfloat16."""
        if source != tl.float32 or target != tl.bfloat16:
            return truncate(value, source, target, mode)
        return torch.from_numpy(np.ascontiguousarray(value)).bfloat16().view(torch.int16).numpy().view(np.uint16)

    interpreter._convert_float = round_to_nearest

    from memory import watch

    watch()
else:
    collect_ignore_glob = ["test_memory.py"]
