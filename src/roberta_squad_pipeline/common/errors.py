"""Errors for users to read."""

from collections.abc import Iterator
from contextlib import contextmanager

from roberta_squad_pipeline.common.redaction import redacted


class InputError(ValueError):
    """Something that the user can correct, with a message that says how.

    Secrets, such as passwords and queries in URLs, are removed. The command line prints the message
    without a traceback and exits with 1.

    Args:
        where: A file, a place in it, or a parameter, such as
            ``train.json: data[3].paragraphs[7].qas[2]``.
        got: What was found there.
        expected: What should have been there.
        remedy: What to do about it, as a sentence.
    """

    def __init__(self, *, where: str, got: str, expected: str, remedy: str) -> None:
        self.where = redacted(where)
        self.got = redacted(got)
        self.expected = redacted(expected)
        self.remedy = redacted(remedy)
        super().__init__(f"{self.where}: got {self.got}; expected {self.expected}. {self.remedy}")

    def at(self, where: str) -> "InputError":
        """The same error with another place."""
        return InputError(where=where, got=self.got, expected=self.expected, remedy=self.remedy)


def causes(error: BaseException) -> Iterator[BaseException]:
    """An error and its causes, the innermost last; frameworks wrap the errors of what they call."""
    inner: BaseException | None = error
    while inner is not None:
        yield inner
        inner = inner.__cause__ or inner.__context__


@contextmanager
def optional(where: str, extra: str) -> Iterator[None]:
    """Names the extra that has what the block fails to import.

    Args:
        where: What needs it.
        extra: Its name in pyproject.toml.

    Raises:
        InputError: A library is not installed.
    """
    try:
        yield
    except ImportError as error:
        raise InputError(
            where=where,
            got=f"an environment without {error.name}",
            expected=f"one with the libraries of the extra {extra}",
            remedy=f'Install them: pip install -e ".[{extra}]"',
        ) from error


class TrainingError(ArithmeticError):
    """Training cannot go on; the message says at which update, why, and what to change."""
