"""Settings of the scores."""

from typing import Literal

NullScore = Literal["best_span", "min_window", "combined"]
"""What a question's no-answer score is made of; see the module `no_answer`."""

NO_ANSWER_THRESHOLD = 0.0
"""The recipe's threshold, which reports take: a no-answer score is a logit, and at 0 the reader is
undecided."""
