"""The package keeps its shape: doors between modules go one way, files and functions are small."""

import ast
from pathlib import Path

PACKAGE = Path(__file__).parents[1] / "throttle_client"
# A module imports only from those before it, when it is loaded.
ORDER = [
    "_version",
    "_errors",
    "_durations",
    "_about",
    "_wire",
    "_pretending",
    "_pool",
    "_client",
    "_async",
    "_timer",
    "_holding",
    "_background",
    "_coming_back",
    "_giving_back",
    "_asking",
    "_heartbeat",
    "_peer",
    "_lease",
    "_local",
    "_tasks",
    "_block",
    "_lock",
    "__init__",
]
FILE = 400
FUNCTION = 70
MODULES = {path.stem: ast.parse(path.read_text("utf-8")) for path in PACKAGE.glob("*.py")}


def test_all_modules_have_their_place() -> None:
    """No module is missing in the order; `testing` can be loaded without all others."""
    assert {*ORDER, "testing"} == set(MODULES)


def test_doors_go_one_way() -> None:
    """A module imports only from those before it."""
    wrong = []
    for name, module in MODULES.items():
        for node in module.body:
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("throttle_"):
                other = str(node.module).rpartition(".")[2]
                if name == "testing" or ORDER.index(other) >= ORDER.index(name):
                    wrong.append(f"{name} imports {other}")

    assert [] == wrong


def test_files_keep_their_bounds() -> None:
    """No file is longer than it may be."""
    texts = {path.name: path.read_text("utf-8") for path in PACKAGE.glob("*.py")}

    lengths = {name: len(text.splitlines()) for name, text in texts.items()}

    assert {} == {name: length for name, length in lengths.items() if length > FILE}


def test_functions_keep_their_bounds() -> None:
    """No function is longer than it may be, its docstring not counted."""
    lengths = {}
    for name, module in MODULES.items():
        for node in ast.walk(module):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                body = node.body[1:] if ast.get_docstring(node) else node.body
                first = body[0].lineno if body else node.lineno
                lengths[f"{name}.{node.name}"] = (node.end_lineno or first) - first + 1

    assert {} == {name: length for name, length in lengths.items() if length > FUNCTION}


def test_every_module_says_what_it_is_for() -> None:
    """Every module opens with a docstring."""
    assert [] == [name for name, module in MODULES.items() if not ast.get_docstring(module)]
