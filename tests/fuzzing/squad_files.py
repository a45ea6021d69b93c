"""SQuAD files, valid and broken, as hypothesis strategies.

`VALID` and `BROKEN` name the kinds; `valid_file` and `broken_file` draw the bytes of one. A valid
file must go through the whole chain, a broken one must be rejected, whatever it holds.
"""

import copy
import gzip
import json
from collections.abc import Callable
from typing import Any

from hypothesis import assume
from hypothesis import strategies as st

Json = dict[str, Any]
Draw = Callable[[st.SearchStrategy[Any]], Any]

_BYTE_ORDER_MARK = b"\xef\xbb\xbf"
_MARKER = "MARKER"

_PIECES = {
    "plain words": [
        "river",
        " the ",
        "Wend",
        " 1823",
        ", ",
        "Dr. ",
        "a-b",
        "£48",
        "km²",
        "\n",
        "\t",
    ],
    "emoji": [
        "😀",
        "👩🏽\u200d🚀",
        "🇫🇷",
        "❤\ufe0f",
        "1\ufe0f\u20e3",
        "🏴\U000e0067\U000e007f",
        " ",
        "a",
    ],
    "combining marks": [
        "e\u0301",
        "\u0301",
        "a" + "\u0300" * 40,
        "각",
        "ក្ស",
        "नि",
        "İ",
        "ß",
        " ",
        "ŉ",
    ],
    "right to left": [
        "שָׁלוֹם",
        "مرحبا",
        "\u202eabc\u202c",
        "\u200f",
        "\u2067x\u2069",
        "ﷺ",
        " ",
        "12",
    ],
    "CJK": ["東京", "서울", "你好", "。", "\u3000", "𠀀", "ｶﾞ", "㍿", "a"],
    "zero width": ["\u200b", "\u200d", "\u2060", "\ufeff", "\u00ad", "\u180e", "a", " "],
    "control characters": ["\x00", "\x07", "\x1b[31m", "\x7f", "\x85", "\u2028", "\r\n", "\r", "a"],
    "private and unassigned": ["\ue000", "\uffff", "\U0010ffff", "\ufffd", "\u0378", "\ufdd0", "a"],
    "markup and templates": [
        "<s>",
        "</s>",
        "[SEP]",
        "<b>",
        "{{x}}",
        "${y}",
        "\\",
        '"',
        "|",
        "%s",
        "../",
    ],
}
"""What passages and questions of each kind are made of, beside any other character."""

HOSTILE_SIZES = "hostile sizes"
VALID = (*_PIECES, "any character", HOSTILE_SIZES)

_any_character = st.characters(codec="utf-8")


def _texts(kind: str, *, most: int = 12) -> st.SearchStrategy[str]:
    pieces = st.sampled_from(_PIECES[kind]) if kind in _PIECES else _any_character
    mostly = pieces | pieces | pieces | _any_character
    texts = st.lists(mostly, min_size=1, max_size=most).map("".join)
    return texts.filter(lambda text: not text.isspace())


@st.composite
def _hostile_texts(draw: Draw) -> str:
    """One long text: a word without end, a heap of marks, an endless run of white space."""
    piece = draw(
        st.sampled_from(["a", "ab ", "\u0301", "  ", "\u200b", "東", "😀 ", "a\n", "</s>"])
    )
    return "x" + piece * draw(st.sampled_from([1_000, 5_000, 20_000])) + "y"


@st.composite
def _questions(draw: Draw, kind: str, context: str, question_id: str, *, answerable: bool) -> Json:
    question: Json = {"id": question_id, "question": draw(_texts(kind)), "answers": []}
    if answerable:
        for _ in range(draw(st.integers(1, 3))):
            start = draw(st.integers(0, len(context) - 1))
            end = draw(st.integers(start + 1, min(start + 40, len(context))))
            if not context[start:end].isspace():
                answer = {"text": context[start:end], "answer_start": start}
                question["answers"].append(answer)
        assume(question["answers"])
    question["is_impossible"] = not answerable
    return question


@st.composite
def squads(draw: Draw, kind: str = "any character") -> Json:
    """A valid file of version 2.0: two to six questions, the first two of different kinds."""
    answerable = [True, False, *draw(st.lists(st.booleans(), max_size=4))]
    ids = draw(
        st.lists(_texts(kind), min_size=len(answerable), max_size=len(answerable), unique=True)
    )
    articles: list[Json] = []
    for question_id, has_answer in zip(ids, answerable, strict=True):
        if not articles or draw(st.booleans()):
            articles.append({"title": draw(_texts(kind)), "paragraphs": []})
        paragraphs = articles[-1]["paragraphs"]
        if not paragraphs or draw(st.booleans()):
            long = kind == HOSTILE_SIZES and draw(st.booleans())
            text = draw(_hostile_texts() if long else _texts(kind))
            paragraphs.append({"context": text, "qas": []})
        paragraph = paragraphs[-1]
        paragraph["qas"].append(
            draw(_questions(kind, paragraph["context"], question_id, answerable=has_answer))
        )
    if kind == HOSTILE_SIZES:
        _enlarge(draw, articles)
    return {"version": "v2.0", "data": articles}


def _enlarge(draw: Draw, articles: list[Json]) -> None:
    """Makes one thing too many or too long, and leaves the file valid."""
    paragraph = articles[0]["paragraphs"][0]
    question = paragraph["qas"][0]
    size = draw(st.sampled_from([200, 1_000]))
    match draw(st.integers(0, 4)):
        case 0:
            question["id"] = "i" * size * 10
        case 1:
            question["question"] = "what? " * size
        case 2:
            question["answers"] *= size
        case 3:
            # Each of a long passage's windows is read with each of its questions.
            more = min(size // 10, 20_000 // len(paragraph["context"]))
            paragraph["qas"] += [question | {"id": f"more {n}"} for n in range(more)]
        case 4:
            articles += [{"title": "", "paragraphs": []} for _ in range(size)]


@st.composite
def valid_file(draw: Draw, kind: str) -> bytes:
    """A valid file of one of the kinds in `VALID`, written in any way that JSON allows.

    It is SQuAD, or the same as other tools write it.
    """
    squad = draw(squads(kind))
    if draw(st.booleans()):
        _as_version_1(squad)
    if draw(st.booleans()):
        squad = draw(_of_other_tools(squad))
    if draw(st.booleans()):
        squad = _backwards(squad)
    if draw(st.booleans()):
        return _packed(draw, squad)
    text = json.dumps(
        squad, ensure_ascii=draw(st.booleans()), indent=draw(st.sampled_from([None, 1]))
    )
    if draw(st.booleans()):
        text = text.replace("/", "\\/")
    if draw(st.booleans()):
        text = f"\r\n\t {text}\r\n"
    return _BYTE_ORDER_MARK * draw(st.booleans()) + text.encode()


@st.composite
def _of_other_tools(draw: Draw, squad: Json) -> Any:
    """Answers as columns, or articles, passages or records without what lies around them."""
    passages = _each(squad, "passages")
    if draw(st.booleans()):
        for question in _each(squad, "questions"):
            answers = question["answers"]
            columns = {key: [a[key] for a in answers] for key in ("text", "answer_start")}
            question["answers"] = columns
    records = [{"context": p["context"], **asked} for p in passages for asked in p["qas"]]
    return draw(
        st.sampled_from([squad, squad["data"], passages, {"data": passages}, {"data": records}])
    )


def _packed(draw: Draw, squad: Any) -> bytes:
    """By gzip, in UTF-16, or one item per line."""
    items = squad["data"] if isinstance(squad, dict) else squad
    lines = b"\n".join(map(_dumped, items))
    kinds = [lines] if len(items) > 1 else []  # one line is a JSON document
    wide = json.dumps(squad).encode(draw(st.sampled_from(["utf-16", "utf-16-le", "utf-16-be"])))
    return draw(st.sampled_from([*kinds, wide, gzip.compress(_dumped(squad), mtime=0)]))


def _as_version_1(squad: Json) -> None:
    squad["version"] = "1.1"
    for question in _each(squad, "questions"):
        del question["is_impossible"]


def _backwards(value: Any) -> Any:
    """The same content with the keys of every object the other way round, and some unknown ones."""
    if isinstance(value, dict):
        turned = {key: _backwards(value[key]) for key in reversed(value)}
        return {"data2": [{"paragraphs": 5}], **turned, "comment": {"data": []}}
    if isinstance(value, list):
        return [_backwards(item) for item in value]
    return value


def _each(squad: Json, what: str) -> list[Json]:
    """All articles, passages, questions or answers of a file."""
    articles = squad["data"]
    passages = [passage for article in articles for passage in article["paragraphs"]]
    questions = [question for passage in passages for question in passage["qas"]]
    answers = [answer for question in questions for answer in question["answers"]]
    return {
        "articles": articles,
        "passages": passages,
        "questions": questions,
        "answers": answers,
    }[what]


Damage = Callable[[Draw, Json], bytes]
BROKEN: dict[str, Damage] = {}


def _damage(kind: str) -> Callable[[Damage], Damage]:
    def register(function: Damage) -> Damage:
        BROKEN[kind] = function
        return function

    return register


@st.composite
def broken_file(draw: Draw, kind: str) -> bytes:
    """A valid file with one damage of a kind in `BROKEN`."""
    squad = draw(squads(draw(st.sampled_from(["plain words", "any character"]))))
    return BROKEN[kind](draw, copy.deepcopy(squad))


def _dumped(squad: object) -> bytes:
    return json.dumps(squad).encode()


def _one(draw: Draw, squad: Json, what: str) -> Json:
    return draw(st.sampled_from(_each(squad, what)))


def _with_marker_replaced(draw: Draw, squad: Json, by: str) -> bytes:
    """Puts characters that `json.dumps` would never write into a string of the file."""
    question = _one(draw, squad, "questions")
    key = draw(st.sampled_from(["question", "id"]))
    question[key] = f"before {_MARKER} behind"
    return json.dumps(squad).replace(_MARKER, by).encode("utf-8", "surrogatepass")


# The text is not JSON.


@_damage("truncated file")
def _truncated(draw: Draw, squad: Json) -> bytes:
    whole = _dumped(squad)
    return whole[: draw(st.integers(1, len(whole) - 1))]


@_damage("empty file, or white space alone")
def _empty_file(draw: Draw, squad: Json) -> bytes:
    return draw(st.sampled_from([b"", b" ", b"\n\n", _BYTE_ORDER_MARK, b"\x00" * 100]))


@_damage("another kind of file")
def _another_format(draw: Draw, squad: Json) -> bytes:
    lines = b"\n".join(_dumped(article) for article in [*squad["data"], {}])
    page = b"<!DOCTYPE html><title>404 Not Found</title>"
    packed = gzip.compress(_dumped(squad), mtime=0)[:-9]
    return draw(st.sampled_from([lines, page, packed, b"id,question\n1,why\n", b"\x93NUMPY\x01"]))


@_damage("Python instead of JSON")
def _python_literals(draw: Draw, squad: Json) -> bytes:
    return repr(squad).encode("utf-8", "surrogatepass")


@_damage("trailing garbage")
def _trailing_garbage(draw: Draw, squad: Json) -> bytes:
    garbage = [b"}", b"]", b" x", b"{}", b"\x00", b"null", b",", _dumped(squad), b"\xff"]
    return _dumped(squad) + draw(st.sampled_from(garbage))


@_damage("comments")
def _comments(draw: Draw, squad: Json) -> bytes:
    comment = draw(st.sampled_from([b"/* c */", b"// c\n", b"# c\n", b"<!-- c -->"]))
    first, second = _dumped(squad).split(b"{", 1)
    return draw(st.sampled_from([comment + first + b"{", first + b"{" + comment])) + second


@_damage("trailing comma")
def _trailing_comma(draw: Draw, squad: Json) -> bytes:
    return draw(st.sampled_from([_dumped(squad)[:-1] + b",}", _dumped(squad)[:-2] + b",]}"]))


@_damage("raw control character in a string")
def _raw_control_character(draw: Draw, squad: Json) -> bytes:
    return _with_marker_replaced(draw, squad, chr(draw(st.integers(0, 31))))


@_damage("unknown escape in a string")
def _unknown_escape(draw: Draw, squad: Json) -> bytes:
    escape = draw(st.sampled_from(["\\x41", "\\u12G4", "\\'", "\\0", "\\u{1F600}", "\\U0001F600"]))
    return _with_marker_replaced(draw, squad, escape)


@_damage("quotation mark that is not escaped")
def _bare_quotation_mark(draw: Draw, squad: Json) -> bytes:
    return _with_marker_replaced(draw, squad, '"')


@_damage("lone surrogate in an escape")
def _lone_surrogate(draw: Draw, squad: Json) -> bytes:
    lone = draw(
        st.sampled_from(["\\ud800", "\\udfff", "\\udc00\\ud800", "\\ud83d x", "\\uD83D\\u0041"])
    )
    return _with_marker_replaced(draw, squad, lone)


@_damage("surrogate encoded in UTF-8")
def _encoded_surrogate(draw: Draw, squad: Json) -> bytes:
    return _with_marker_replaced(draw, squad, draw(st.sampled_from(["\ud800", "\ud83d\ude00"])))


@_damage("not UTF-8")
def _not_utf8(draw: Draw, squad: Json) -> bytes:
    whole = _dumped(squad)
    at = draw(st.integers(0, len(whole)))
    bad = draw(st.sampled_from([b"\xff", b"\xe9", b"\x80", b"\xc0\xaf", b"\xf5\x80\x80\x80"]))
    return whole[:at] + bad + whole[at:]


@_damage("UTF-32")
def _wide(draw: Draw, squad: Json) -> bytes:
    encodings = ["utf-32", "utf-32-le", "utf-32-be"]
    return json.dumps(squad).encode(draw(st.sampled_from(encodings)))


@_damage("a second byte-order mark")
def _second_mark(draw: Draw, squad: Json) -> bytes:
    return draw(
        st.sampled_from([_BYTE_ORDER_MARK * 2 + _dumped(squad), _dumped(squad) + _BYTE_ORDER_MARK])
    )


@_damage("number that JSON does not know")
def _odd_number(draw: Draw, squad: Json) -> bytes:
    _one(draw, squad, "answers")["answer_start"] = _MARKER
    number = draw(st.sampled_from(["007", "+5", "0x10", "5.", ".5", "1_000", "--1", "1e", "5L"]))
    return json.dumps(squad).replace(f'"{_MARKER}"', number).encode()


@_damage("nested too deep")
def _nested(draw: Draw, squad: Json) -> bytes:
    depth = draw(st.sampled_from([1_000, 20_000, 200_000]))
    opening, closing = draw(st.sampled_from([("[", "]"), ('{"data":', "}"), ('[{"a":', "}]")]))
    nest = opening * depth + "0" + closing * depth
    place = draw(st.sampled_from(["data", "unknown", "version"]))
    if draw(st.booleans()):
        return (json.dumps(squad)[:-1] + f', "{place}": {nest}}}').encode()
    return f'{{"{place}": {nest}, {json.dumps(squad)[1:]}'.encode()


# The JSON is not SQuAD.

_ANY_JSON: list[Any] = [None, True, 0, 7, 1.5, "", "text", [], {}, [[]], [None], {"a": 1}]


_INFINITE = {float("inf"), float("-inf"), 1.5}
_NO_ANSWERS = ("answers", None)


def _replace_one(draw: Draw, squad: Json, values: list[Any]) -> bytes:
    """Puts a value of another type at any level of the file."""
    places: list[tuple[Any, Any, type]] = [(squad, "data", list)]
    for what, keys in {
        "articles": {"title": str, "paragraphs": list},
        "passages": {"context": str, "qas": list},
        "questions": {"id": str, "question": str, "answers": list, "is_impossible": bool},
        "answers": {"text": str, "answer_start": int},
    }.items():
        places += [(one, key, kind) for one in _each(squad, what) for key, kind in keys.items()]
    lists = [parent[key] for parent, key, kind in places if kind is list]
    places += [(items, n, dict) for items in lists for n in range(len(items))]
    parent, key, right = draw(st.sampled_from(places))
    wrong = [value for value in values if type(value) is not right and not _has_sense(key, value)]
    assume(wrong)
    parent[key] = draw(st.sampled_from(wrong))
    return _dumped(squad)


def _has_sense(key: Any, value: Any) -> bool:
    """Whether some tool writes such a value there."""
    none_or_number = value is None or (isinstance(value, int | float) and value not in _INFINITE)
    return (none_or_number and key in {"id", "title", "is_impossible"}) or (
        key,
        value,
    ) == _NO_ANSWERS


@_damage("wrong type at any level")
def _wrong_type(draw: Draw, squad: Json) -> bytes:
    return _replace_one(draw, squad, _ANY_JSON)


@_damage("null at any level")
def _null(draw: Draw, squad: Json) -> bytes:
    return _replace_one(draw, squad, [None])


@_damage("NaN or Infinity at any level")
def _nan(draw: Draw, squad: Json) -> bytes:
    return _replace_one(draw, squad, [float("nan"), float("inf"), float("-inf")])


@_damage("missing key")
def _missing_key(draw: Draw, squad: Json) -> bytes:
    keys = {
        "articles": ["paragraphs"],
        "passages": ["context", "qas"],
        "questions": ["question", "answers"],
        "answers": ["text", "answer_start"],
    }
    what = draw(st.sampled_from(list(keys)))
    one = _one(draw, squad, what)
    assume(not one.get("is_impossible"))  # of which answers may be missing
    del one[draw(st.sampled_from(keys[what]))]
    return _dumped(squad)


@_damage("duplicate key")
def _duplicate_key(draw: Draw, squad: Json) -> bytes:
    what = draw(st.sampled_from(["articles", "passages", "questions", "answers"]))
    target = _one(draw, squad, what)
    key = draw(st.sampled_from(list(target)))
    other = draw(st.sampled_from([target[key], None, "other"]))

    class Twice(dict[str, Any]):
        def items(self) -> Any:
            return [*super().items(), (key, other)]

    def doubled(value: Any) -> Any:
        if isinstance(value, dict):
            inner = {name: doubled(item) for name, item in value.items()}
            return Twice(inner) if value is target else inner
        return [doubled(item) for item in value] if isinstance(value, list) else value

    return _dumped(doubled(squad))


@_damage("no key data")
def _no_data(draw: Draw, squad: Json) -> bytes:
    squad[draw(st.sampled_from(["Data", "dat", "rows"]))] = squad.pop("data")
    return _dumped(squad)


@_damage("no object, or one inside a list")
def _no_object(draw: Draw, squad: Json) -> bytes:
    return _dumped(draw(st.sampled_from([[], [squad], "text", 5, None, True])))


@_damage("answers as columns of different lengths")
def _columns(draw: Draw, squad: Json) -> bytes:
    question = draw(st.sampled_from([q for q in _each(squad, "questions") if q["answers"]]))
    texts = [answer["text"] for answer in question["answers"]]
    question["answers"] = {"text": texts, "answer_start": [0] * (len(texts) + 1)}
    return _dumped(squad)


# The SQuAD contradicts itself.


@_damage("float or text as answer_start")
def _float_start(draw: Draw, squad: Json) -> bytes:
    answer = _one(draw, squad, "answers")
    start = answer["answer_start"]
    answer["answer_start"] = draw(st.sampled_from([start + 0.5, str(start), True]))
    return _dumped(squad)


@_damage("negative answer_start")
def _negative_start(draw: Draw, squad: Json) -> bytes:
    _one(draw, squad, "answers")["answer_start"] = draw(st.integers(-(10**6), -1))
    return _dumped(squad)


@_damage("answer_start behind the passage")
def _start_too_large(draw: Draw, squad: Json) -> bytes:
    passage = draw(st.sampled_from([p for p in _each(squad, "passages") if _answers_of(p)]))
    answer = draw(st.sampled_from(_answers_of(passage)))
    answer["answer_start"] = len(passage["context"]) + draw(st.integers(0, 10**6))
    return _dumped(squad)


@_damage("huge integer as answer_start")
def _huge_start(draw: Draw, squad: Json) -> bytes:
    powers = [str(2**31), str(2**63), str(2**64), str(-(2**63) - 1), "1" + "0" * 30]
    # Python refuses to print integers of more than 4,300 digits.
    digits = draw(st.sampled_from([*powers, "1" + "0" * 4_000, "-1" + "0" * 5_000]))
    _one(draw, squad, "answers")["answer_start"] = _MARKER
    return json.dumps(squad).replace(f'"{_MARKER}"', digits).encode()


@_damage("answer_start that is off")
def _start_off(draw: Draw, squad: Json) -> bytes:
    passage = draw(st.sampled_from([p for p in _each(squad, "passages") if _answers_of(p)]))
    answer = draw(st.sampled_from(_answers_of(passage)))
    start = draw(st.integers(0, len(passage["context"])))
    assume(not passage["context"].startswith(answer["text"], start))
    answer["answer_start"] = start
    return _dumped(squad)


@_damage("answer that its passage does not hold")
def _foreign_answer(draw: Draw, squad: Json) -> bytes:
    answer = _one(draw, squad, "answers")
    answer["text"] += draw(st.sampled_from(["\u0301", " and more than there is", "\ufffe"]))
    passages = [p["context"] for p in _each(squad, "passages")]
    assume(not any(answer["text"] in text for text in passages))
    return _dumped(squad)


def _answers_of(passage: Json) -> list[Json]:
    return [answer for question in passage["qas"] for answer in question["answers"]]


@_damage("empty or blank text")
def _blank(draw: Draw, squad: Json) -> bytes:
    keys = {"passages": "context", "questions": "question", "answers": "text"}
    what = draw(st.sampled_from(list(keys)))
    blank = draw(st.sampled_from(["", " ", "\n\t", "\u3000", "\u2028", "\x1f"]))
    _one(draw, squad, what)[keys[what]] = blank
    return _dumped(squad)


@_damage("duplicate id")
def _duplicate_id(draw: Draw, squad: Json) -> bytes:
    first, *others = _each(squad, "questions")
    draw(st.sampled_from(others))["id"] = first["id"]
    return _dumped(squad)


@_damage("is_impossible that contradicts the answers")
def _contradiction(draw: Draw, squad: Json) -> bytes:
    question = _one(draw, squad, "questions")
    question["is_impossible"] = not question["is_impossible"]
    return _dumped(squad)


@_damage("no articles, passages or questions")
def _nothing(draw: Draw, squad: Json) -> bytes:
    what = draw(st.sampled_from(["data", "paragraphs", "qas"]))
    if what == "data":
        squad["data"] = []
    for one in _each(squad, {"paragraphs": "articles"}.get(what, "passages")):
        one[what] = []
    return _dumped(squad)


@_damage("questions of one kind only")
def _one_kind(draw: Draw, squad: Json) -> bytes:
    unwanted = draw(st.booleans())
    for passage in _each(squad, "passages"):
        passage["qas"] = [q for q in passage["qas"] if q["is_impossible"] is not unwanted]
    return _dumped(squad)
