"""The base of every configuration class."""

from pydantic import BaseModel, ConfigDict


class StrictModel(BaseModel):
    """Immutable, and rejects unknown keys, so that a misspelled setting does not cost a run.

    Numbers are finite, since JSON has no others.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)
