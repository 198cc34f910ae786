"""How a provider is timed: in rounds that take turns with rounds of heterad on the same inputs."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch


def clock() -> float:
    """Seconds, after all work on the GPU is done."""
    if torch.cuda.is_initialized():
        torch.cuda.synchronize()
    return time.perf_counter()


@dataclass(frozen=True)
class Plan:
    """A round lasts about `round_s` (one call at least); rounds go on for `budget_s`, but at least `least` and at most
    `most` of them. Where a turn alone takes a second, three are enough.
    """

    round_s: float
    budget_s: float
    least: int
    most: int


PAUSE = 0.005  # between rounds: a pool's threads spin for some milliseconds once it is done, on the other's cores

SMOKE = Plan(round_s=0.0, budget_s=0.0, least=2, most=2)


def full(budget_s: float) -> Plan:
    return Plan(round_s=0.01, budget_s=budget_s, least=5, most=60)


def seconds(call: Callable[[], Any], calls: int) -> float:
    """Mean time of a call over one round."""
    start = clock()
    for _ in range(calls):
        call()
    return (clock() - start) / calls


def take_turns(benchmark: Any, call: Callable[[], Any], ours: Callable[[], Any], plan: Plan) -> None:
    """Let pytest-benchmark time rounds of `call`, each followed by a round of `ours`.

    A slow phase of the machine so falls on both; the report takes the ratio round by round. What `ours` took is in
    `extra_info["beside"]`, seconds a call, in the order of pytest-benchmark's own data. `call` must have run before.
    """
    ours()
    each = [seconds(f, 1) for f in (call, ours)]
    calls = [max(1, min(10_000, math.ceil(plan.round_s / s))) for s in each]
    turn = sum(s * n for s, n in zip(each, calls, strict=True))
    least = min(plan.least, 3) if turn > 1 else plan.least
    rounds = max(least, min(plan.most, int(plan.budget_s / turn)))
    beside: list[float] = []

    def answer() -> None:
        time.sleep(PAUSE)
        beside.append(seconds(ours, calls[1]))
        time.sleep(PAUSE)

    benchmark.pedantic(call, rounds=rounds, iterations=calls[0], teardown=answer)
    benchmark.extra_info["beside"] = beside[:rounds]
