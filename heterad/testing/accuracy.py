"""The rule of accuracy: at most twice as far from the float64 reference as plain torch in the same dtype."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from heterad.ops import reference
from heterad.ops.deviation_loss import PRIOR
from heterad.testing.samples import Sample

# In float64 both sides round alike, and a gradient whose terms cancel keeps some 1e-12 of that.
ATOL = {torch.float64: 1e-11, torch.float32: 1e-6, torch.bfloat16: 1e-3, torch.float16: 1e-3}

DRAWS = 8  # of gradients from above, to judge that of a single number


def relative_error(got: Tensor, expected: Tensor) -> float:
    """Norm of the difference over the norm of what was expected, in float64."""
    got, expected = got.detach().double(), expected.detach().double()
    scale = expected.norm().item()
    return ((got - expected).norm() / (scale if scale > 0 else 1.0)).item()


def _reference(op: str, sample: Sample) -> Any:
    kwargs = dict(sample.kwargs)
    if op == "deviation_loss":
        kwargs = {"margin": 5.0, "prior": PRIOR, **kwargs}
    return getattr(reference, op)(*sample.args, **kwargs)


def _outputs_and_gradients(call: Callable[[Sample], Any], sample: Sample) -> list[tuple[str, Tensor]]:
    outputs = call(sample)
    outputs = outputs if isinstance(outputs, tuple) else (outputs,)
    named = [(f"output {i}", o) for i, o in enumerate(outputs)]
    leaves = sample.leaves()
    if leaves:
        generator = torch.Generator().manual_seed(1)
        draws = DRAWS if any(v.numel() == 1 for v in leaves) else 1
        found: list[list[Tensor]] = [[] for _ in leaves]
        for draw in range(draws):
            cotangents = []
            for o in outputs:  # drawn in double and rounded, so that every dtype gets the same
                drawn = torch.randn(o.shape, generator=generator, dtype=torch.float64)
                cotangents.append(drawn.to(torch.bfloat16).to(o.dtype).to(o.device))
            grads = torch.autograd.grad(outputs, leaves, cotangents, allow_unused=True, retain_graph=draw + 1 < draws)
            for of_leaf, g, v in zip(found, grads, leaves, strict=True):
                if draw == 0 or v.numel() == 1:
                    of_leaf.append(torch.zeros_like(v) if g is None else g)
        named += [(f"gradient {i}", g[0] if len(g) == 1 else torch.stack(g)) for i, g in enumerate(found)]
    return named


def assert_accurate(op: str, sample: Sample, call: Callable[..., Any] | None = None) -> None:
    """Hold `heterad.ops.<op>` (or `call`) to the rule on one sample: the outputs and the gradient of every leaf.

    Errors are norm-wise: two correct orders of float32 operations flip a few masks of the soft threshold, and single
    entries next to a kink then differ. The gradient of a single number, which has no entries to average over, is
    judged by those of eight gradients from above: of one alone plain torch's error is a matter of luck (of mu's, seen
    from 1e-7 to 6e-6 for one shape, and on one sample thirteen times less on one processor than usual).

    Raises:
        AssertionError: naming the op, the sample, the output or gradient, its error and the error that was allowed.
    """
    import heterad

    function = getattr(heterad.ops, op) if call is None else call
    floats = [v for v in sample.args if isinstance(v, Tensor) and v.is_floating_point()]
    dtype = floats[0].dtype
    exact = _outputs_and_gradients(lambda s: _reference(op, s), sample.cast(torch.float64))
    # Plain torch cannot solve in half precision; a user would compute in float32 and round.
    plain = _outputs_and_gradients(lambda s: _reference(op, s), sample.cast(torch.promote_types(dtype, torch.float32)))
    got = _outputs_and_gradients(lambda s: function(*s.args, **s.kwargs), sample)
    for (what, g), (_, e), (_, p) in zip(got, exact, plain, strict=True):
        assert g.shape == e.shape, f"{op} {sample.name}: {what} has shape {tuple(g.shape)}, expected {tuple(e.shape)}"
        error, allowed = relative_error(g, e), 2 * relative_error(p.to(g.dtype), e) + ATOL[dtype]
        assert error <= allowed, f"{op} {sample.name}: {what} is off by {error:.2e}, allowed {allowed:.2e}"
