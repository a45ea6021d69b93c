"""How many processes work together, and on which machines."""

from typing import Literal, Self

from pydantic import Field, model_validator

from roberta_squad_pipeline.common.errors import InputError
from roberta_squad_pipeline.common.strict import StrictModel

Strategy = Literal["ddp", "fsdp"]


class DistributedConfig(StrictModel):
    """How the processes of a run are started and share the work."""

    processes: int | None = Field(gt=0)
    """Processes on each machine; null stands for one per visible GPU, or one on the CPU."""
    nodes: int = Field(gt=0)
    """Machines, each with a `kedro run` of its own."""
    node_rank: int = Field(ge=0)
    """Which of them this one is, from 0; machine 0 reads the inputs and writes the outputs."""
    rendezvous: str | None
    """``host:port`` of machine 0, where machines meet; null on a single machine."""
    join_timeout_s: int = Field(gt=0)
    """Seconds that a machine waits for the others."""
    strategy: Strategy
    """Whether each process holds the whole model (ddp), or a share of it (fsdp)."""
    max_restarts: int = Field(ge=0)
    """How often all processes are restarted after one has died."""

    @model_validator(mode="after")
    def _machines_must_meet(self) -> Self:
        if self.node_rank >= self.nodes:
            raise InputError(
                where="distributed.node_rank",
                got=f"machine {self.node_rank} of {self.nodes}",
                expected=f"a number from 0 to {self.nodes - 1}",
                remedy="Count machines from 0, or raise distributed.nodes.",
            )
        host, _, port = (self.rendezvous or "").rpartition(":")
        if self.nodes > 1 and not (host and port.isdigit()):
            raise InputError(
                where="distributed.rendezvous",
                got=repr(self.rendezvous),
                expected="host:port of machine 0, the same on every machine",
                remedy="Such as --params distributed.rendezvous=10.0.0.1:29500",
            )
        return self
