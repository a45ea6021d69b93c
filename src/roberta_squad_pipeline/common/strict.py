"""The base of every configuration class."""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$", max_length=100)]
"""Names a file or a folder, and can name none outside of the one it is put in."""


class StrictModel(BaseModel):
    """Immutable, and rejects unknown keys, so that a misspelled setting does not cost a run.

    Numbers are finite, since JSON has no others.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)
