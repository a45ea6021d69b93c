"""Training extractive question-answering readers that know when to say "no answer"."""

__version__ = "0.1.0"
