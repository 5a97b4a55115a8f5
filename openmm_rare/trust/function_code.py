"""What a function of the user's computes, as a digest: a function that was edited is another one, whatever its name."""

import ast
import hashlib
import inspect
import sys
import textwrap
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

__all__ = ["function_digest"]

_DATA = (bool, int, float, complex, str, bytes, tuple, list, dict, set, frozenset, np.ndarray, np.generic, type(None))
_OURS = __name__.partition(".")[0]


@cache
def function_digest(function: Callable[..., Any]) -> str:
    """SHA-256 of the code of a function, and of all that it uses of its own module and of those beside it.

    Comments, docstrings and layout do not count. It is taken when it is first asked for: an edit that this process does not run
    changes nothing. Where there is no source, as in an interactive session, it is of the bytecode.

    Parameters
    ----------
    function : callable
        Defined at the top level of a module.

    Returns
    -------
    str
        Empty for a function of this package, whose version says what it is.
    """
    module = sys.modules.get(getattr(function, "__module__", None) or "")
    if module is None or module.__name__.partition(".")[0] == _OURS:
        return ""
    seen: dict[str, str] = {}
    _visit("", function, module, _folder(module), seen)
    return hashlib.sha256("\n".join(seen[key] for key in sorted(seen)).encode("utf8")).hexdigest()


def _folder(module: ModuleType) -> Path | None:
    file = getattr(module, "__file__", None)
    return Path(file).resolve().parent if file else None


def _visit(name: str, value: Any, module: ModuleType, folder: Path | None, seen: dict[str, str]) -> None:
    """Take in an object of a module, and what it refers to by name."""
    key = f"{module.__name__}:{name}"
    if key in seen:
        return
    if isinstance(value, _DATA):
        seen[key] = f"{key} = {_content(value)}"
        return
    tree = _tree(value)
    seen[key] = ast.dump(tree) if tree is not None else _bytecode(value)
    for used in sorted({node.id for node in ast.walk(tree) if isinstance(node, ast.Name)} if tree is not None else ()):
        if used not in vars(module):
            continue
        found = vars(module)[used]
        if isinstance(found, _DATA):
            _visit(used, found, module, folder, seen)
        elif isinstance(found, ModuleType):
            if _lies_beside(found, folder):
                _visit("", found, found, folder, seen)
        elif (home := sys.modules.get(getattr(found, "__module__", None) or "")) is not None and _lies_beside(home, folder):
            _visit(getattr(found, "__qualname__", used), found, home, folder, seen)


def _lies_beside(module: ModuleType, folder: Path | None) -> bool:
    """Whether a module is of the same folder, or below."""
    home = _folder(module)
    return folder is not None and home is not None and home.is_relative_to(folder)


def _tree(value: Any) -> ast.AST | None:
    try:
        tree = ast.parse(textwrap.dedent(inspect.getsource(value)))
    except (OSError, TypeError, SyntaxError):
        return None
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.ClassDef | ast.Module) and ast.get_docstring(node) is not None:
            node.body = node.body[1:] or [ast.Pass()]
    return tree


def _bytecode(value: Any) -> str:
    code = getattr(value, "__code__", None)
    return repr(list(_parts(code))) if code is not None else repr(type(value))


def _parts(code: Any) -> Iterator[Any]:
    yield code.co_code, code.co_names
    for constant in code.co_consts:
        yield list(_parts(constant)) if hasattr(constant, "co_code") else constant


def _content(value: Any) -> str:
    if isinstance(value, np.ndarray):
        return f"{value.dtype}{value.shape}{hashlib.sha256(np.ascontiguousarray(value).tobytes()).hexdigest()}"
    return repr(sorted(value, key=repr)) if isinstance(value, set | frozenset) else repr(value)
