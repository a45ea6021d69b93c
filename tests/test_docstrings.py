"""What ruff's rules on docstrings cannot see.

Oracle: the annotations of the public functions themselves.
"""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ARRAYS = {"Tensor", "NDArray", "IntArray", "FloatArray"}


def public_functions(path: Path) -> Iterator[ast.FunctionDef]:
    bodies = [ast.parse(path.read_text(encoding="utf-8")).body]
    while bodies:
        for node in bodies.pop():
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                bodies.append(node.body)
            elif isinstance(node, ast.FunctionDef) and not node.name.startswith("_"):
                yield node


def has_arrays(function: ast.FunctionDef) -> bool:
    arguments = function.args.posonlyargs + function.args.args + function.args.kwonlyargs
    annotations = [argument.annotation for argument in arguments] + [function.returns]
    named = (ast.unparse(one) for one in annotations if one is not None)
    return any(ARRAYS & set(re.findall(r"\w+", annotation)) for annotation in named)


@pytest.mark.parametrize("path", sorted(Path("src").rglob("*.py")), ids=str)
def test_functions_of_arrays_say_their_shapes(path: Path) -> None:
    silent = [
        function.name
        for function in public_functions(path)
        if has_arrays(function) and not re.search("[Ss]hape", ast.get_docstring(function) or "")
    ]
    assert silent == []


def test_the_check_itself(tmp_path: Path) -> None:
    path = tmp_path / "some.py"
    path.write_text(
        "class A:\n    def f(self, x: NDArray[np.int64] | None) -> int:\n        '''Counts.'''\n"
    )
    with pytest.raises(AssertionError, match="'f'"):
        test_functions_of_arrays_say_their_shapes(path)
