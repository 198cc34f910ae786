"""A training loop with early stopping whose whole state can be saved and resumed bit for bit."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from numbers import Integral, Real
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim.lr_scheduler import LambdaLR
from torch.optim.swa_utils import get_ema_multi_avg_fn

from heterad.train.distributed import ALONE, Processes
from heterad.train.graph import Graph
from heterad.train.vector import Vector

ADVICE = "scale the features or lower the learning rate"
SCHEDULES = ("constant", "cosine")


@dataclass(frozen=True)
class Settings:
    """When to step, to look and to stop.

    Args:
        max_iter: at most so many steps, >= 1.
        lr: Adam's learning rate, > 0.
        eval_every: steps between evaluations, >= 1; the last step is always evaluated.
        patience: stop after so many evaluations in a row without a better validation value; None never stops.
        schedule: "constant" keeps the learning rate, "cosine" lowers it to 0 at ``max_iter``, along half a cosine.
        warm_up: steps over which the learning rate first rises in proportion, >= 0.
        averaging: decay of a moving average of the weights, which is validated and kept in their place, in [0, 1);
            0 keeps the weights themselves. Step t decays by (1 + t) / (10 + t) at most, so that the average of few
            steps is not that of the start.
        graph: whether a GPU replays a step that it has recorded in a CUDA graph, which saves the time that the CPU
            takes to launch it; see ``Graph`` for what it asks of a loss. That of ``meta_fit`` serves.

    Raises:
        ValueError: ``schedule``, ``warm_up`` or ``averaging`` is out of range.
    """

    max_iter: int = 1000
    lr: float = 1e-3
    eval_every: int = 25
    patience: int | None = 20
    schedule: str = "constant"
    warm_up: int = 0
    averaging: float = 0.0
    graph: bool = False

    def __post_init__(self) -> None:
        if self.schedule not in SCHEDULES:
            raise ValueError(f"schedule: expected one of {', '.join(SCHEDULES)}, got {self.schedule!r}")
        if not isinstance(self.warm_up, Integral) or self.warm_up < 0:
            raise ValueError(f"warm_up: expected an integer >= 0, got {self.warm_up!r}")
        if not isinstance(self.averaging, Real) or not 0 <= self.averaging < 1:
            raise ValueError(f"averaging: expected a number in [0, 1), got {self.averaging!r}")

    def rate(self, step: int) -> float:
        """The share of ``lr`` that the step after so many is taken with.

        Example:
            >>> settings = Settings(max_iter=100, schedule="cosine", warm_up=4)
            >>> settings.rate(0), settings.rate(50), round(settings.rate(99), 4)
            (0.25, 0.5, 0.0002)
        """
        risen = min(1.0, (step + 1) / self.warm_up) if self.warm_up else 1.0
        return risen if self.schedule == "constant" else risen * (1 + math.cos(math.pi * step / self.max_iter)) / 2


class Loop:
    """Minimise a random loss, by Adam unless told otherwise; keep the weights that validate best.

    Args:
        model: what is trained, in place.
        draw_loss: draws a batch with the generator it is given and returns the loss, a scalar tensor.
        generator: the only source of randomness; its state is part of the loop's.
        settings: see ``Settings``.
        validate: returns a number, higher is better; None trains to the end and keeps the last weights.
        callback: called with this loop after each evaluation, e.g. to draw a progress bar or save a checkpoint.
        processes: those that train together, each with its share of every loss; the first one's validation counts.

    Attributes:
        step: steps taken.
        history: one list per quantity, one entry per evaluation: ``step``, ``loss`` (mean since the entry before),
            ``validation`` (None where nothing is validated) and ``seconds`` since the start.
        best_step: the step whose weights are kept; best_value: its validation value.
        vector: the model's parameters as one, see ``Vector``. A model with an attribute ``vector`` finds the leaf there
            while it is trained.
        optimizer: Adam; another of ``vector.leaf`` may be put in its place before ``run``.

    Raises:
        ValueError: a graph is asked for without a GPU, or of several processes.

    Example:
        >>> model = nn.Linear(1, 1)
        >>> draw = lambda g: (model(torch.rand(8, 1, generator=g)) - 2).square().mean()
        >>> loop = Loop(model, draw, torch.Generator().manual_seed(0), Settings(max_iter=50))
        >>> loop.run().history["step"]
        [25, 50]
    """

    def __init__(
        self,
        model: nn.Module,
        draw_loss: Callable[[torch.Generator], Tensor],
        generator: torch.Generator,
        settings: Settings,
        *,
        validate: Callable[[], float] | None = None,
        callback: Callable[[Loop], None] | None = None,
        processes: Processes = ALONE,
    ) -> None:
        self.model = model
        self.draw_loss = draw_loss
        self.generator = generator
        self.settings = settings
        self.validate = validate
        self.callback = callback
        self.processes = processes
        self.vector = Vector(model)
        self._take: Callable[[], Tensor] = self._step
        lr: Any = settings.lr
        if settings.graph:
            if processes.size > 1:
                raise ValueError(f"graph: expected one process, got {processes.size}")
            self._take = Graph(self._step, generator)
            lr = torch.tensor(lr, device=self.vector.leaf.device)  # a number would be recorded as it is
        self.optimizer: torch.optim.Optimizer = torch.optim.Adam(
            [self.vector.leaf], lr=lr, fused=True, capturable=settings.graph
        )
        self.step = 0
        self.history: dict[str, list] = {"step": [], "loss": [], "validation": [], "seconds": []}
        self.best_step = 0
        self.best_value = -math.inf
        self._average = self.vector.leaf.detach().clone() if settings.averaging else None
        self._best: dict[str, Tensor] = {}
        self._seconds = 0.0

    @property
    def stopped(self) -> bool:
        """Whether the validation value has not risen for too long."""
        if self.validate is None or self.settings.patience is None:
            return False
        looks_since_best = sum(step > self.best_step for step in self.history["step"])
        return looks_since_best >= self.settings.patience

    def run(self) -> Loop:
        """Train until ``max_iter`` or until stopped, then put the best weights back.

        Returns:
            This loop.

        Raises:
            ValueError: the loss is no longer a finite number, or a linear system can no longer be solved.
            ConnectionError: another of the processes died, or did not answer in time.
        """
        knows = hasattr(self.model, "vector")
        try:
            if knows:
                self.model.vector = self.vector.leaf
            self._run()
        except torch.linalg.LinAlgError as error:
            raise ValueError(f"training diverged at step {self.step + 1}: {error}; {ADVICE}") from None
        finally:
            if knows:
                self.model.vector = None  # type: ignore[assignment]
        return self

    def _run(self) -> None:
        started = time.perf_counter() - self._seconds
        first, total = self.step, None
        constant = self.settings.schedule == "constant" and not self.settings.warm_up
        schedule = None if constant else LambdaLR(self.optimizer, lambda n: self.settings.rate(first + n))
        while self.step < self.settings.max_iter and not self.stopped:
            loss = self._take()
            if schedule is not None:
                schedule.step()
            self.step += 1
            self._move_average()
            total = loss if total is None else total + loss
            if self.step % self.settings.eval_every == 0 or self.step == self.settings.max_iter:
                self._seconds = time.perf_counter() - started
                self._evaluate(float(total))
                total = None
        if self._best:
            self.model.load_state_dict(self._best)

    def _step(self) -> Tensor:
        loss = self.draw_loss(self.generator)
        self.vector.clear()
        loss.backward()
        self.vector.gather()
        loss = self.processes.combine(loss, self.vector.leaf)
        self.optimizer.step()
        return loss

    def _evaluate(self, total: float) -> None:
        if not math.isfinite(total):
            raise ValueError(
                f"training diverged before step {self.step}: expected a finite loss, got {total}; {ADVICE}"
            )
        with self._averaged():
            value = None if self.validate is None else self._validated(self.validate)
            if value is None or value > self.best_value:
                self.best_step = self.step
                self.best_value = self.best_value if value is None else value
                if value is not None or self._average is not None:
                    self._best = {name: t.detach().clone() for name, t in self.model.state_dict().items()}
        self.history["loss"].append(total / (self.step - (self.history["step"] or [0])[-1]))
        self.history["step"].append(self.step)
        self.history["validation"].append(value)
        self.history["seconds"].append(self._seconds)
        if self.callback is not None:
            self.callback(self)

    def _move_average(self) -> None:
        if self._average is not None:
            decay = min(self.settings.averaging, (1 + self.step) / (10 + self.step))
            get_ema_multi_avg_fn(decay)([self._average], [self.vector.leaf.detach()], self.step)

    @contextmanager
    def _averaged(self) -> Iterator[None]:
        """With the average, where there is one, in the place of the model's weights."""
        if self._average is None:
            yield
            return
        weights = self.vector.leaf.detach()
        raw = weights.clone()
        weights.copy_(self._average)
        try:
            yield
        finally:
            weights.copy_(raw)

    def _validated(self, validate: Callable[[], float]) -> float:
        return self.processes.agree(validate() if self.processes.first else math.nan)

    def state(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """Everything needed to go on exactly here: named tensors, and a record for JSON.

        To be taken between evaluations' ends, that is in the callback or when ``run`` has returned.
        """
        tensors = {f"model.{name}": t for name, t in self.model.state_dict().items()}
        tensors |= {f"best.{name}": t for name, t in self._best.items()}
        if self._average is not None:
            tensors["average"] = self._average
        tensors["generator"] = self.generator.get_state()
        for number, slots in self.optimizer.state_dict()["state"].items():
            tensors |= {f"adam.{number}.{name}": t for name, t in slots.items()}
        best = self.best_value if math.isfinite(self.best_value) else None
        return tensors, {
            "step": self.step,
            "history": self.history,
            "best_step": self.best_step,
            "best_value": best,
            "seconds": self._seconds,
        }

    def restore(self, tensors: dict[str, Tensor], record: dict[str, Any]) -> Loop:
        """Take up a state that ``state`` returned, of a loop with the same model and settings.

        Returns:
            This loop, so that ``loop.restore(*read_tensors(path)).run()`` goes on.

        Raises:
            ValueError: the state is of another model.
        """
        try:
            self.model.load_state_dict(_part(tensors, "model."))
        except RuntimeError as error:
            raise ValueError(f"state: expected that of this model, got another's ({error})") from None
        self._best = {name: t.to(self.generator.device).clone() for name, t in _part(tensors, "best.").items()}
        if self._average is not None:
            self._average.copy_(tensors["average"])
        self.generator.set_state(tensors["generator"])
        adam = self.optimizer.state_dict()
        adam["state"] = {}
        for name, tensor in _part(tensors, "adam.").items():
            number, slot = name.split(".")
            adam["state"].setdefault(int(number), {})[slot] = tensor.clone()
        self.optimizer.load_state_dict(adam)
        self.step, self.best_step = record["step"], record["best_step"]
        self.best_value = -math.inf if record["best_value"] is None else record["best_value"]
        self.history = {name: list(values) for name, values in record["history"].items()}
        self._seconds = record["seconds"]
        return self


def _part(tensors: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): t for name, t in tensors.items() if name.startswith(prefix)}
