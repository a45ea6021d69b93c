"""What ruff's rules on docstrings cannot see.

Oracle: the annotations of the public functions themselves.
"""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

ARRAYS = {"Tensor", "NDArray", "IntArray", "Float32Array", "Float64Array"}


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


def silent_about_shapes(path: Path) -> list[str]:
    return [
        f"{path}: {function.name}"
        for function in public_functions(path)
        if has_arrays(function) and not re.search("[Ss]hape", ast.get_docstring(function) or "")
    ]


def test_functions_of_arrays_say_their_shapes() -> None:
    paths = sorted((Path(__file__).parents[1] / "src").rglob("*.py"))
    assert len(paths) > 100
    assert [name for path in paths for name in silent_about_shapes(path)] == []


def test_the_check_itself(tmp_path: Path) -> None:
    path = tmp_path / "some.py"
    path.write_text(
        "class A:\n    def f(self, x: NDArray[np.int64] | None) -> int:\n        '''Counts.'''\n"
    )
    assert silent_about_shapes(path) == [f"{path}: f"]
