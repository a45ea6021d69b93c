"""What is said of machines and processes before anything starts."""

import pytest
from pydantic import ValidationError

from roberta_squad_pipeline.distributed.config import DistributedConfig

ALONE = {
    "processes": None,
    "nodes": 1,
    "node_rank": 0,
    "rendezvous": None,
    "join_timeout_s": 300,
    "strategy": "ddp",
    "max_restarts": 3,
}


@pytest.mark.parametrize("rendezvous", [None, "", "node0", "node0:", ":29500", "node0:port"])
def test_machines_need_a_place_to_meet(rendezvous: str | None) -> None:
    with pytest.raises(ValidationError, match=r"distributed.rendezvous: .*host:port of machine 0"):
        DistributedConfig(**ALONE | {"nodes": 2, "rendezvous": rendezvous})
    assert DistributedConfig(**ALONE | {"rendezvous": rendezvous}).nodes == 1


def test_machines_are_counted_from_0() -> None:
    meet = {"nodes": 2, "rendezvous": "[::1]:29500"}
    assert DistributedConfig(**ALONE | meet | {"node_rank": 1}).node_rank == 1
    with pytest.raises(ValidationError, match=r"machine 2 of 2; expected a number from 0 to 1"):
        DistributedConfig(**ALONE | meet | {"node_rank": 2})
