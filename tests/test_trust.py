"""What the code may not do, whatever it is given.

Oracle: the source files themselves, as Python parses them, and names that lead out of a folder.
"""

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click import ClickException
from kedro.config import OmegaConfigLoader

from roberta_squad_pipeline.cli import _messages_for_errors
from roberta_squad_pipeline.common.errors import InputError
from roberta_squad_pipeline.common.nested import merged
from roberta_squad_pipeline.runs.parameters import check_parameters, load_parameters
from roberta_squad_pipeline.settings import CONFIG_LOADER_ARGS

SOURCES = sorted((Path(__file__).parents[1] / "src").rglob("*.py"))

UNPICKLE = {"pickle", "_pickle", "cPickle", "dill", "cloudpickle", "joblib", "shelve", "marshal"}
ONLY_AN_ERROR = ["UnpicklingError"]
UNPACK = {"tarfile", "zipfile", "zipimport"}
RUN_TEXT = {"eval", "exec", "compile", "__import__"}
UNSAFE = {"unpack_archive", "unsafe_load", "full_load", "read_pickle"}
FROM_HUB = {"from_pretrained", "from_config"}


def calls(tree: ast.AST) -> Iterator[tuple[str, dict[str, ast.expr]]]:
    """Dotted name and keywords of each call."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            keywords = {word.arg: word.value for word in node.keywords if word.arg}
            yield ast.unparse(node.func), keywords


def is_constant(value: ast.expr | None, constant: object) -> bool:
    return isinstance(value, ast.Constant) and value.value is constant


def forbidden_imports(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        names = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and [one.name for one in node.names] != ONLY_AN_ERROR:
            names = [node.module or ""]
        for name in names:
            if name.partition(".")[0] in UNPICKLE | UNPACK:
                yield f"imports {name}"


def forbidden_call(name: str, keywords: dict[str, ast.expr]) -> bool:
    of, _, last = name.rpartition(".")
    remote = keywords.get("trust_remote_code")
    return any(
        (
            last in RUN_TEXT and of in {"", "builtins"},
            last in UNSAFE,
            name == "yaml.load",
            name == "torch.load" and not is_constant(keywords.get("weights_only"), True),
            "allow_pickle" in keywords and not is_constant(keywords["allow_pickle"], False),
            remote is not None and not is_constant(remote, False),
            # What loads by a name that a user gives says that no code comes with it.
            of.startswith("Auto") and last in FROM_HUB and remote is None,
            name == "AutoModel.from_pretrained"
            and not is_constant(keywords.get("use_safetensors"), True),
            # MLflow pickles an object, and only notes the path of a file.
            "python_model" in keywords
            and not ast.unparse(keywords["python_model"]).startswith("str("),
        )
    )


def faults_of(text: str) -> list[str]:
    """What a source file does that none may do."""
    tree = ast.parse(text)
    calling = [name for name, keywords in calls(tree) if forbidden_call(name, keywords)]
    return [*forbidden_imports(tree), *calling]


def test_nothing_is_unpickled_unpacked_or_run() -> None:
    assert len(SOURCES) > 100
    faults = {str(path): faults_of(path.read_text(encoding="utf-8")) for path in SOURCES}
    assert {path: found for path, found in faults.items() if found} == {}


@pytest.mark.parametrize(
    "text",
    [
        "import pickle",
        "from joblib import load",
        "from pickle import UnpicklingError, loads",
        "def f():\n    import tarfile",
        "eval(x)",
        "builtins.exec(x)",
        "shutil.unpack_archive(x)",
        "yaml.load(x)",
        "yaml.full_load(x)",
        "torch.load(x)",
        "torch.load(x, weights_only=False)",
        "np.load(x, allow_pickle=True)",
        "AutoTokenizer.from_pretrained(x)",
        "AutoConfig.from_pretrained(x, trust_remote_code=flag)",
        "AutoModel.from_pretrained(x, trust_remote_code=False)",
        "mlflow.pyfunc.log_model(python_model=Model())",
    ],
)
def test_the_check_itself(text: str) -> None:
    assert faults_of(text)


HOSTILE = [
    "..",
    ".",
    "../x",
    "a/../../x",
    "/x/y",
    "~",
    "~/x",
    "a/b",
    "a\\b",
    "a\0b",
    "a\n",
    ".hidden",
    "-rf",
    "a b",
    "ä",
    "",
    "x" * 101,
    "${oc.env:HOME}",
    "{run}",
    5,
    None,
    ["x"],
    {"x": "y"},
]


def loader(given: dict[str, Any]) -> OmegaConfigLoader:
    return OmegaConfigLoader("conf", env="base", runtime_params=given, **CONFIG_LOADER_ARGS)


@pytest.fixture(scope="module")
def composed() -> dict[str, Any]:
    parameters: dict[str, Any] = loader({})["parameters"]
    return parameters


@pytest.mark.parametrize("parameter", ["run", "feature_set", "reader", "source"])
def test_names_that_lead_out_of_their_folder(composed: dict[str, Any], parameter: str) -> None:
    """Such a name is an error before anything is written: nothing else has happened yet."""
    for name in HOSTILE:
        given: dict[str, Any] = {parameter: name}
        if parameter == "source":
            if not isinstance(name, str):
                continue
            demo = {"kind": "demo", "split": "dev", "passages": 1, "seed": 1}
            given = {"data": {"dev": name, "sources": {name: demo}}}
        elif name is None:
            continue  # as if it had not been given
        with pytest.raises(InputError, match=r"parameter "):
            check_parameters(merged(composed, given))


@pytest.mark.parametrize("parameter", ["run", "experiment"])
def test_hostile_names_on_the_command_line(parameter: str) -> None:
    """The same where conf/ is composed with them, and experiments are looked up."""
    for name in ("../x", "${oc.env:HOME}", "{run}", "a\0b", 5):
        with pytest.raises(InputError, match=r"parameter |configuration: got Unsupported"):
            load_parameters(loader({parameter: name}))


def test_a_bug_s_traceback_tells_no_secret() -> None:
    hidden = r"(?s)Traceback.*KeyError: 'https://\*\*\*@host'"
    with pytest.raises(ClickException, match=hidden), _messages_for_errors():
        raise KeyError("https://me:hush@host")
