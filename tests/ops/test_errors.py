"""Every bad call raises the documented exception, whose message names the argument, what was expected and what came."""

import pytest

import heterad
from heterad.testing import error_inputs

CALLS = [
    call
    for op in ("deviation_loss", "ridge_solve", "robust_ridge", "roc_auc", "smoothed_auc", "soft_threshold")
    for call in error_inputs(op)
]


def test_the_table_is_long_enough():
    assert len(CALLS) >= 60


@pytest.mark.parametrize("call", CALLS, ids=repr)
def test_bad_call(call):
    with pytest.raises(call.error, match=call.pattern):
        getattr(heterad.ops, call.op)(*call.args, **call.kwargs)
