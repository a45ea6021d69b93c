"""All that is wrong or odd in a file is counted, placed, and told apart.

Oracle: a sound file, into which one thing of each kind is put at a known place.
"""

import copy
import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from roberta_squad_pipeline.features.config import WindowConfig
from roberta_squad_pipeline.pipelines.validate.nodes import token_limits
from roberta_squad_pipeline.reader.config import ModelConfig
from roberta_squad_pipeline.squad.faults import OnMisaligned
from roberta_squad_pipeline.validation import tokens
from roberta_squad_pipeline.validation.check import validate_files
from roberta_squad_pipeline.validation.report import FileReport, Finding
from roberta_squad_pipeline.validation.tokens import TokenLimits

Json = dict[str, Any]

RIVER = "The Wend rises near Mill Bridge. The Wend ends in the sea."


@pytest.fixture(scope="module")
def limits(bert_folder: Path) -> TokenLimits:
    windows = WindowConfig(order="passage_first", max_tokens=40, max_question_tokens=20, stride=10)
    model = ModelConfig(
        start=None,
        encoder=str(bert_folder),
        dropout=0.0,
        attention_dropout=0.0,
        answerability_input="first_token",
    )
    return token_limits(model, windows, max_answer_tokens=14)


def asked(question_id: str, text: str, *starts: int, question: str = "") -> Json:
    answers = [{"text": text, "answer_start": start} for start in starts]
    return {"id": question_id, "question": question or f"{question_id}?", "answers": answers}


def passage(context: str, *questions: Json) -> Json:
    return {"context": context, "qas": list(questions)}


SOUND = [
    passage(RIVER, asked("a", "Wend", RIVER.index("Wend")), asked("b", "")),
    passage("Nothing is asked here."),
]


def validated(
    folder: Path,
    limits: TokenLimits,
    *paragraphs: Json,
    on_misaligned: OnMisaligned = "error",
    mark: bool = False,
) -> FileReport:
    content = {"version": "1.1", "data": [{"paragraphs": copy.deepcopy([*SOUND, *paragraphs])}]}
    path = folder / "train.json"
    path.write_bytes(b"\xef\xbb\xbf" * mark + json.dumps(content).encode())
    report = validate_files({"train": path}, on_misaligned=on_misaligned, limits=limits)
    return report.files["train"]


def test_nothing_is_found_in_a_sound_file(tmp_path: Path, limits: TokenLimits) -> None:
    report = validated(tmp_path, limits)
    assert report.findings == ()
    assert asdict(report.counts) == {
        "articles": 1,
        "passages": 2,
        "passages_without_questions": 1,
        "questions": 2,
        "answerable": 1,
        "unanswerable": 1,
        "answers": 1,
        "longest_passage": len(RIVER),
        "windows": 2,
        "labelled_windows": 1,
        "labelled_windows_of_several_answers": 0,
    }
    assert report.size_bytes == (tmp_path / "train.json").stat().st_size


ODD: list[tuple[str, str, Json]] = [
    ("control_character", ".context", passage("A bell\x07 rings.")),
    ("byte_order_mark", ".context", passage("A mark\ufeff stands here.")),
    ("not_nfc", ".context", passage("Ou est le cafe\u0301?")),
    ("not_nfc", ".qas[0].question", passage("Ici.", asked("c", "", question="cafe\u0301?"))),
    ("mixed_line_ends", ".context", passage("One\nline.\r\nAnother.")),
    ("enormous_passage", ".context", passage("word " * 10_001)),
    ("repeated_question", ".qas[0]", passage(f"  {RIVER}\n", asked("c", "", question="a?"))),
    ("answer_scores_nothing", ".qas[0].answers[0]", passage("The end.", asked("c", "The", 0))),
    (
        "answer_too_long",
        ".qas[0].answers[0]",
        passage("a b c d e f g h i j k l m n o p", asked("c", "b c d e f g h i j k l m n o p", 2)),
    ),
    (
        "answer_without_token",
        ".qas[0].answers[0]",
        passage("A\u200b.", asked("c", "\u200b", 1)),
    ),
]
STOPPING: list[tuple[str, str, Json]] = [
    ("blank_text", ".context", passage(" \n")),
    ("blank_text", ".qas[0].question", passage("A.", asked("c", "", question=" "))),
    ("blank_text", ".qas[0].answers[0].text", passage("A.", asked("c", "", 0))),
    ("contradiction", ".qas[0]", passage("A.", asked("c", "") | {"is_impossible": False})),
    ("repeated_id", ".qas[0]", passage("A.", asked("a", "", question="What?"))),
    ("no_token", ".context", passage("\u200b")),
    ("qas_of_another_type", ".qas", {"context": "A."} | {"qas": None}),
    ("no_answers", ".qas[0]", {"context": "A.", "qas": [{"id": "c", "question": "?"}]}),
]


@pytest.mark.parametrize(
    ("kind", "place", "paragraph", "stops"),
    [(*one, False) for one in ODD] + [(*one, True) for one in STOPPING],
)
def test_each_kind_is_found_at_its_place(
    tmp_path: Path, limits: TokenLimits, kind: str, place: str, paragraph: Json, stops: bool
) -> None:
    report = validated(tmp_path, limits, paragraph)
    found = {finding.kind: finding for finding in report.findings}
    # An answer that is too long for the reader may also be for its windows.
    assert set(found) - {kind} <= {"answer_beyond_windows"}
    finding = found[kind]
    assert (finding.count, finding.stops_features) == (1, stops)
    assert finding.places[0].where == f"{tmp_path}/train.json: data[0].paragraphs[2]{place}"
    assert finding.remedy.endswith(".")


def test_answers_that_no_window_holds(tmp_path: Path, limits: TokenLimits) -> None:
    """Oracle: windows of 17 passage tokens beside a question of 20; the second begins at 10."""
    text = " ".join("abcdefghij" * 4)
    lengths = {"fits": 8, "long": 9}
    questions = [
        asked(name, text[18 : 18 + 2 * length - 1], 18, question=name + " word" * 30)
        for name, length in lengths.items()
    ]
    report = validated(tmp_path, limits, passage(text, *questions))
    finding = only("answer_beyond_windows", report)
    assert [place.question_id for place in finding.places] == ["long"]
    assert "of 9 tokens" in finding.places[0].got


def test_questions_that_are_cut_come_with_what_would_do(
    tmp_path: Path, limits: TokenLimits
) -> None:
    """Oracle: the tokenizer; windows of 40 tokens keep 10 for the passage, and 3 are special."""
    questions = [asked(f"{n}", "", question=f"{'word ' * n}?") for n in (2, 22, 30, 25)]
    finding = only("question_cut", validated(tmp_path, limits, passage("A.", *questions)))
    assert [place.question_id for place in finding.places] == ["22", "30", "25"]
    longest = len(limits.tokenizer().pretrained.tokenize("Q: " + questions[2]["question"]))
    assert finding.remedy.startswith(
        f"Set features.max_question_tokens={longest},features.max_tokens={longest + 13},"
    )
    assert WindowConfig(
        order="passage_first",
        max_tokens=longest + 13,
        max_question_tokens=longest,
        stride=limits.windows.stride,
    )


def only(kind: str, report: FileReport) -> Finding:
    (finding,) = [finding for finding in report.findings if finding.kind == kind]
    return finding


@pytest.mark.parametrize("on_misaligned", ["error", "drop", "repair"])
def test_misaligned_answers_come_with_a_repair(
    tmp_path: Path, limits: TokenLimits, on_misaligned: OnMisaligned
) -> None:
    second = RIVER.rindex("Wend")
    wrong = passage(
        RIVER + " ", asked("c", "Wend", second - 2, 3, -1, 10**30), asked("d", "Avon", 4)
    )
    report = validated(tmp_path, limits, wrong, on_misaligned=on_misaligned)
    finding = only("ambiguous_answer", report)
    assert finding.count == 4
    assert [place.proposed_answer_start for place in finding.places] == [second, 4, 4, second]
    assert f"begins at {second}, the nearest of several" in finding.places[0].expected
    lacking = only("answer_not_in_passage", report)
    assert (lacking.count, lacking.places[0].question_id) == (1, "d")
    assert lacking.places[0].proposed_answer_start is None
    assert {one.stops_features for one in report.findings} == {on_misaligned == "error"}


@pytest.mark.parametrize("on_misaligned", ["error", "drop", "repair"])
def test_what_answers_are_counted_in_is_named(
    tmp_path: Path, limits: TokenLimits, on_misaligned: OnMisaligned
) -> None:
    ship = "\U0001f6a2 one. \U0001f6a2 two."
    starts = {text: ship.index(text) + units for text, units in {"one": 1, "two": 2}.items()}
    wrong = passage(ship, *(asked(text, text, start) for text, start in starts.items()))
    report = validated(tmp_path, limits, wrong, on_misaligned=on_misaligned)
    (finding,) = report.findings
    assert (finding.kind, finding.count) == ("start_in_utf16_units", 2)
    assert "if answer_start counts UTF-16 units" in finding.places[1].expected
    assert finding.places[1].proposed_answer_start == ship.index("two")


def test_only_the_first_places_are_listed(tmp_path: Path, limits: TokenLimits) -> None:
    bells = [passage(f"Bell {n}\x07", asked("a", "", question=f"{n}?")) for n in range(8)]
    report = validated(tmp_path, limits, *bells)
    for kind, first in (
        ("control_character", "paragraphs[2].context"),
        ("repeated_id", "[2].qas[0]"),
    ):
        finding = only(kind, report)
        assert (finding.count, len(finding.places)) == (8, 5)
        assert finding.places[0].where.endswith(first)
    assert "data[0].paragraphs[0].qas[0]" in only("repeated_id", report).places[4].got


def test_passages_are_tokenised_in_batches(
    tmp_path: Path, limits: TokenLimits, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tokens, "_BATCH_CHARACTERS", 30)
    letters = "a b c d e f g h i j k l m n o p"
    paragraphs = [
        *(passage(letters, asked(f"{n}", letters, 0)) for n in range(3)),
        passage("\u200b"),
        passage(letters + ".", asked("last", letters, 0)),
    ]
    report = validated(tmp_path, limits, *paragraphs)
    too_long = only("answer_too_long", report)
    assert [place.question_id for place in too_long.places] == ["0", "1", "2", "last"]
    assert only("no_token", report).places[0].where.endswith("paragraphs[5].context")


def test_passages_of_both_files_are_leaked(tmp_path: Path, limits: TokenLimits) -> None:
    other = {"version": "1.1", "data": [{"paragraphs": [passage("New."), *SOUND]}]}
    paths = {"train": tmp_path / "train.json", "dev": tmp_path / "dev.json"}
    validated(tmp_path, limits)
    other["data"][0]["paragraphs"][1] = passage(RIVER.replace(" ", "\n"), *SOUND[0]["qas"])  # type: ignore[index]
    paths["dev"].write_text(json.dumps(other))
    report = validate_files(paths, on_misaligned="drop", limits=limits)
    assert report.files["train"].findings == ()
    leaked = only("leaked_passage", report.files["dev"])
    assert [place.where.partition(": ")[2] for place in leaked.places] == [
        "data[0].paragraphs[1].context",
        "data[0].paragraphs[2].context",
    ]


def test_unlabelled_passages_may_be_those_of_train_alone(
    tmp_path: Path, limits: TokenLimits
) -> None:
    """Their file is in another form, and one of its records has no passage."""
    validated(tmp_path, limits)
    held_out = [passage("New.", asked("c", "")), passage("Newer.", asked("d", "New", 0))]
    paths = {split: tmp_path / f"{split}.json" for split in ("train", "dev", "validation")}
    for split in ("dev", "validation"):
        paths[split].write_text(json.dumps({"data": [{"paragraphs": held_out}]}))
    paths["unlabelled"] = tmp_path / "more.jsonl"
    texts = [RIVER, "Other.", "\tNewer. \n", None]
    records = ({"context": text, "question": "Which?"} for text in texts)
    paths["unlabelled"].write_text("\n".join(map(json.dumps, records)))
    report = validate_files(paths, on_misaligned="drop", limits=limits)
    assert report.files.keys() == {"train", "dev", "validation"}
    assert report.files["train"].findings == ()
    for split, others in (("dev", ["unlabelled"]), ("validation", ["unlabelled", "dev", "dev"])):
        leaked = only("leaked_passage", report.files[split])
        got = [place.got.partition(", which ")[::2] for place in leaked.places]
        assert [other for _, other in got] == [f"{other} has, too" for other in others]
        assert "Newer." in got[0][0]


@pytest.mark.parametrize("on_misaligned", ["error", "drop", "repair"])
def test_answers_without_a_place_can_be_scored_but_not_learned(
    tmp_path: Path, limits: TokenLimits, on_misaligned: OnMisaligned
) -> None:
    """The same two files, of which no answer stands anywhere; dev is not even rejected by error."""
    asked_of = passage(RIVER, asked("a", "Danube", 0, 3), asked("b", ""))
    paths = {split: tmp_path / f"{split}.json" for split in ("train", "dev")}
    for path in paths.values():
        path.write_text(json.dumps({"version": "v2.0", "data": [{"paragraphs": [asked_of]}]}))
    report = validate_files(paths, on_misaligned=on_misaligned, limits=limits)
    assert not any(finding.stops_features for finding in report.files["dev"].findings)
    assert report.files["dev"].counts.windows == 2
    if on_misaligned == "error":
        assert only("answer_not_in_passage", report.files["train"]).stops_features
        return
    missing = only("missing_kind_of_question", report.files["train"])
    assert missing.stops_features
    assert missing.places[0].got == "no answerable question (2 misaligned answers dropped)"
    assert report.files["train"].counts.windows == 1


def test_a_mark_before_the_file_is_told(tmp_path: Path, limits: TokenLimits) -> None:
    (finding,) = validated(tmp_path, limits, mark=True).findings
    assert (finding.kind, finding.stops_features) == ("byte_order_mark", False)


@pytest.mark.parametrize(
    ("content", "kind"),
    [
        (b"", "unreadable"),
        (b'{"data": [', "unreadable"),
        (b'{"data": []}', "missing_kind_of_question"),
        (b'{"data": [{"paragraphs": [5]}]}', "entry_of_another_type"),
        (b'{"data": [{"title": "A"}]}', "entry_of_another_type"),
        (b'{"data": 5}', "data_of_another_type"),
        (b'{"data": [{"paragraphs": [{"context": }]}]}', "unreadable"),
    ],
)
def test_files_that_cannot_be_used_at_all(
    tmp_path: Path, limits: TokenLimits, content: bytes, kind: str
) -> None:
    path = tmp_path / "train.json"
    path.write_bytes(content)
    report = validate_files({"train": path}, on_misaligned="error", limits=limits)
    (finding,) = report.files["train"].findings
    assert (finding.kind, finding.stops_features) == (kind, True)
    assert finding.places[0].where.startswith(str(path))


def test_a_structural_fault_hides_nothing_else(tmp_path: Path, limits: TokenLimits) -> None:
    """Oracle: six faults of six kinds, in the file's frame, in one passage, in one question."""
    fine = asked("a", "Wend", RIVER.index("Wend"))
    spoilt = passage(
        RIVER,
        {"id": "b", "question": "?"},
        {"id": "c", "question": 5, "answers": [{"text": "Wend"}]},
        asked("d", "Wend", 1),
        fine,
        asked("e", "") | {"is_impossible": False},
    )
    content = {"version": "v2.0", "data": [{"paragraphs": [spoilt]}, 5, {"paragraphs": [SOUND[1]]}]}
    path = tmp_path / "train.json"
    path.write_text(json.dumps(content))
    report = validate_files({"train": path}, on_misaligned="error", limits=limits)
    found = {one.kind: one.places[0].where for one in report.files["train"].findings}
    at = f"{path}: data[0].paragraphs[0]"
    assert found == {
        "no_answers": f"{at}.qas[0]",
        "question_of_another_type": f"{at}.qas[1].question",
        "no_answer_start": f"{at}.qas[1].answers[0]",
        "ambiguous_answer": f"{at}.qas[2].answers[0]",
        "contradiction": f"{at}.qas[4]",
        "entry_of_another_type": f"{path}: data[1]",
    }
    assert report.files["train"].counts.questions == 3


def test_questions_without_ids_are_told(tmp_path: Path, limits: TokenLimits) -> None:
    unnamed = asked("", "", question="?")
    del unnamed["id"]
    (finding,) = validated(tmp_path, limits, passage("A.", unnamed)).findings
    assert (finding.kind, finding.stops_features) == ("no_id", False)
    assert finding.places[0].where.endswith("data[0].paragraphs[2].qas[0]")


def test_empty_answers_are_neither_misaligned_nor_missing(
    tmp_path: Path, limits: TokenLimits
) -> None:
    """As converters write what is unanswerable; only where nothing else says so it is a fault."""
    path = tmp_path / "train.json"
    for flag, kinds in (({"is_impossible": True}, set()), ({}, {"blank_text"})):
        empty = asked("c", "", -1) | flag
        fine = asked("a", "Wend", RIVER.index("Wend"))
        data = [{"paragraphs": [passage(RIVER, fine, empty)]}]
        path.write_text(json.dumps({"version": "v2.0", "data": data}))
        report = validate_files({"train": path}, on_misaligned="error", limits=limits)
        assert {one.kind for one in report.files["train"].findings} == kinds
        for finding in report.files["train"].findings:
            assert '"answers": []' in finding.remedy


def test_a_missing_file_is_a_finding(tmp_path: Path, limits: TokenLimits) -> None:
    paths = {"train": tmp_path / "none.json"}
    report = validate_files(paths, on_misaligned="error", limits=limits)
    assert report.files["train"].findings[0].places[0].got == "no such file"
