"""A model's parameters as one vector."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.utils import parameters_to_vector, vector_to_parameters


class Vector:
    """A model's trained parameters as parts of one vector, so that one gradient and one step serve them all.

    Autograd and torch's optimizers take some ten microseconds for each tensor in each step (measured), which for small
    networks is as much as all else.

    Args:
        model: whose parameters become views of the vector, with their values, until something gives them other memory.

    Attributes:
        leaf: the vector ``[P]``, a leaf of autograd's graph: what an optimizer is given. A derivative that knows of it
            may leave its gradient there; ``gather`` adds those left at the parameters.
        parts: the parameters, in the vector's order.

    Raises:
        ValueError: the model has no parameter to train.

    Example:
        >>> model = nn.Linear(2, 1)
        >>> vector = Vector(model)
        >>> model(torch.ones(3, 2)).sum().backward()
        >>> vector.gather()
        >>> vector.leaf.grad
        tensor([3., 3., 3.])
    """

    def __init__(self, model: nn.Module) -> None:
        self.parts = [p for p in model.parameters() if p.requires_grad]
        if not self.parts:
            raise ValueError("model: expected parameters to train, got none")
        whole = parameters_to_vector(self.parts).detach()
        vector_to_parameters(whole, self.parts)
        self.leaf: Tensor = whole.requires_grad_()

    def clear(self) -> None:
        """Forget all gradients."""
        self.leaf.grad = None
        for p in self.parts:
            p.grad = None

    def gather(self) -> None:
        """Add the gradients at the parameters to the vector's.

        Raises:
            RuntimeError: the parameters are parts of the vector no longer.
        """
        if self.parts[0].data_ptr() != self.leaf.data_ptr():
            raise RuntimeError("model: expected parameters where the training began, got them moved")
        if any(p.grad is not None for p in self.parts):
            grads = [torch.zeros_like(p) if p.grad is None else p.grad for p in self.parts]
            whole = torch.cat([g.reshape(-1) for g in grads])
            self.leaf.grad = whole if self.leaf.grad is None else self.leaf.grad + whole
