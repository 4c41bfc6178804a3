"""
Several training processes that work as one: each takes its share of a batch, gradients are summed.

Knows torch.distributed and no model. Started by torchrun; a plain call is one process.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    import torch

Item = TypeVar("Item")


@dataclass(frozen=True, slots=True)
class Processes:
    """This process among its fellows. All of them read the same run folder; only the first writes."""

    rank: int = 0
    count: int = 1

    @property
    def first(self) -> bool:
        """Whether this is the one that writes files and speaks."""
        return self.rank == 0

    def share(self, items: Sequence[Item]) -> Sequence[Item]:
        """This process's part of a batch; empty where the batch has fewer items than there are processes."""
        return items[self.rank :: self.count]

    def sum_gradients(self, weights: Sequence[torch.nn.Parameter]) -> None:
        """Replace every gradient with the sum over all processes."""
        if self.count == 1:
            return
        import torch
        from torch import distributed

        pending = []
        for weight in weights:
            if weight.grad is None:  # an empty share
                weight.grad = torch.zeros_like(weight)
            pending.append(distributed.all_reduce(weight.grad, async_op=True))
        for work in pending:
            work.wait()

    def sum(self, values: Sequence[float]) -> list[float]:
        """Each value summed over all processes."""
        if self.count == 1:
            return list(values)
        import torch
        from torch import distributed

        table = torch.tensor(values, dtype=torch.float64)
        distributed.all_reduce(table)
        return [float(value) for value in table]

    def wait(self) -> None:
        """Go on when all have come this far."""
        if self.count > 1:
            from torch import distributed

            distributed.barrier()


@contextmanager
def joined() -> Iterator[Processes]:
    """Join the processes that the launcher's environment names (gloo, on processors), and leave them at the end."""
    if int(os.environ.get("WORLD_SIZE", "1")) < 2:
        yield Processes()
        return
    from torch import distributed

    distributed.init_process_group("gloo")
    try:
        yield Processes(distributed.get_rank(), distributed.get_world_size())
    finally:
        distributed.destroy_process_group()
