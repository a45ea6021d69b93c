"""The base of every configuration class."""

from pydantic import BaseModel, ConfigDict


class StrictModel(BaseModel):
    """Frozen, and closed to unknown keys: a typing error in a setting must not cost a run."""

    model_config = ConfigDict(frozen=True, extra="forbid")
