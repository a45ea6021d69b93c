"""What is chosen about scores before there are any."""

from typing import Literal

NullScore = Literal["best_span", "min_window", "combined"]
"""What a question's no-answer score is made of; `no_answer` makes it."""
