"""Settings of the scores."""

from typing import Literal

NullScore = Literal["best_span", "min_window", "combined"]
"""What a question's no-answer score is made of; see the module `no_answer`."""
