"""The report as Markdown, whatever stands in the file.

Oracle: what terminals, browsers and Markdown take for more than text.
"""

from hypothesis import example, given
from hypothesis import strategies as st

from roberta_squad_pipeline.common.errors import InputError
from roberta_squad_pipeline.validation.report import (
    Counts,
    FileReport,
    Findings,
    ValidationReport,
    stopping,
    summary,
    to_markdown,
)


def report_on(text: str) -> ValidationReport:
    findings = Findings()
    fault = InputError(where=text, got=text, expected=text, remedy="Do otherwise.")
    findings.add("odd_thing", lambda: fault, stops_features=False, question_id=text)
    for _ in range(10):
        findings.add("bad_thing", lambda: fault, stops_features=True)
    file = FileReport(path=text, size_bytes=5, counts=Counts(), findings=findings.listed())
    return ValidationReport(files={"train": file})


@given(st.text())
@example("<script>alert(1)</script>")
@example("\x1b[2J`|`\n\n# Title [x](javascript:y) \u202e \ud800")
def test_any_text_is_inert(text: str) -> None:
    markdown = to_markdown(report_on(text))
    plain = to_markdown(report_on("x"))
    assert len(markdown.splitlines()) == len(plain.splitlines())
    assert all(character.isprintable() or character == "\n" for character in markdown)
    assert markdown.count("`") == plain.count("`")
    assert markdown.count("|") == plain.count("|")
    assert not set("<>&") & set(markdown)
    markdown.encode()


def test_findings_that_stop_come_first() -> None:
    report = report_on("x")
    assert summary(stopping(report)) == "bad thing (10)"
    findings = report.files["train"].findings
    assert summary(findings) == "bad thing (10), odd thing (1)"
    assert "- and 5 more" in to_markdown(report).splitlines()


def test_the_report_survives_json() -> None:
    report = report_on("é\x07")
    assert ValidationReport.model_validate_json(report.model_dump_json()) == report
