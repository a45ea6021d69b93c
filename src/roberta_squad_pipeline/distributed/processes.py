"""One process among those that work together; one alone needs no torch."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Self, cast

if TYPE_CHECKING:
    import torch
    import torch.distributed as dist
    from torch import Tensor


@dataclass(frozen=True, slots=True)
class Processes:
    """All processes of a job, seen from one of them."""

    rank: int
    """Number of this process, from 0; rank 0 is on machine 0."""
    count: int
    """Number of processes on all machines together."""
    device: "torch.device"
    """The device of this process."""
    control: "dist.ProcessGroup | None" = None
    """The group for messages between CPUs, which then need not wait for a GPU; None for a single
    process."""

    @classmethod
    def alone(cls, device: "torch.device | None") -> Self:
        """A single process, which needs no process group.

        Args:
            device: None where it is not needed: onnxruntime asks for none, and `predict` finds one.
        """
        return cls(0, 1, cast("torch.device", device))

    @property
    def first(self) -> bool:
        """Whether this is the one that reads inputs and writes outputs."""
        return self.rank == 0

    def any(self, flag: bool) -> bool:
        """Whether the flag is set in any process; every process has to call this."""
        if self.count == 1:
            return flag
        import torch

        raised = torch.tensor(flag, dtype=torch.uint8)
        self.maximum(raised)
        return bool(raised)

    def sum(self, tensor: "Tensor") -> None:
        """Sums a tensor of any shape over all processes, in place."""
        if self.count > 1:
            import torch.distributed as dist

            dist.all_reduce(tensor)

    def maximum(self, tensor: "Tensor") -> None:
        """Takes the elementwise maximum over all processes, in place.

        Args:
            tensor: On the CPU, of any shape that is the same everywhere.
        """
        if self.count > 1:
            import torch.distributed as dist

            dist.all_reduce(tensor, dist.ReduceOp.MAX, group=self.control)

    def broadcast(self, tensor: "Tensor") -> None:
        """Overwrites a tensor of any shape with that of rank 0."""
        if self.count > 1:
            import torch.distributed as dist

            dist.broadcast(tensor, src=0)

    def broadcast_bytes(self, data: bytes | None, source: int = 0) -> bytes:
        """Sends the bytes of one process, by default rank 0, to all; the others may pass None."""
        if self.count == 1:
            return data or b""
        import torch
        import torch.distributed as dist

        data = data if self.rank == source else None
        # The others do not know the size yet.
        size = torch.tensor(len(data or b""))
        dist.broadcast(size, src=source, group=self.control)
        content = torch.empty(int(size), dtype=torch.uint8)
        if data:
            content = torch.frombuffer(bytearray(data), dtype=torch.uint8)
        dist.broadcast(content, src=source, group=self.control)
        return content.numpy().tobytes()

    def gather_bytes(self, data: bytes) -> list[bytes]:
        """Gives every process the bytes of each, by rank."""
        return [self.broadcast_bytes(data, source=rank) for rank in range(self.count)]
