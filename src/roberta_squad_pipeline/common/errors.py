"""Errors that a user is meant to read."""

from collections.abc import Iterator

from roberta_squad_pipeline.common.redaction import redacted


class InputError(ValueError):
    """Something that the user can put right; its message is all they need to do so.

    Users, passwords and queries of URLs and other secrets are taken out. The command line prints it
    as one message without a traceback and exits with 1.

    Args:
        where: File, place in it, or parameter, such as
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
        """The same, found somewhere else."""
        return InputError(where=where, got=self.got, expected=self.expected, remedy=self.remedy)


def causes(error: BaseException) -> Iterator[BaseException]:
    """An error and what led to it, the innermost last; frameworks wrap what happened inside."""
    inner: BaseException | None = error
    while inner is not None:
        yield inner
        inner = inner.__cause__ or inner.__context__


class TrainingError(ArithmeticError):
    """Training cannot go on; the message says at which update, why, and what to change."""
