"""The base of every configuration class."""

from pydantic import BaseModel, ConfigDict


class StrictModel(BaseModel):
    """Frozen, and closed to unknown keys: a typing error in a setting must not cost a run.

    Numbers are finite, since JSON has no others.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)
