"""Takes one guard out of the engine: finds it by function and syntax tree, edits it, and writes a mutated copy.

No anchor is text: names of functions, formatting and comments do not matter. A pattern is Python:

    _           matches any expression
    f(...)      matches a call of f with any arguments
    if _: ...   matches any body (an `else` is part of the pattern)
    name=value  matches a keyword argument, or an assignment where the pattern has spaces around the `=`
"""

from __future__ import annotations

import ast
import re
import shutil
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from local.stack.paths import PROJECT

ENGINE: Final = PROJECT / "layers" / "plaid_sync"
_IGNORED_FIELDS: Final = frozenset({"ctx", "kind", "type_comment"})
_KEYWORD: Final = re.compile(r"\w+=(?!=)")


class AnchorError(Exception):
    """A guard's anchor no longer exists in the engine; the message names the function."""


@dataclass(frozen=True, slots=True)
class Guard:
    """One guard of the engine, and what fails without it.

    Attributes:
        protects: what the guard ensures, in one sentence.
        where: dotted name of the function, class or constant that holds it.
        edit: the pattern to find (see the module), and what replaces it; empty to drop a statement, a keyword argument,
            a list element or an operand of and/or.
        caught_by: the tests that fail without it; by default the unit tests of its module.
        times: how often the pattern occurs.
    """

    name: str
    protects: str
    where: str
    edit: tuple[str, str]
    caught_by: str = ""
    times: int = 1

    @property
    def tests(self) -> str:
        """The test file that must fail."""
        path = _module_of(self, ENGINE)[0]
        return self.caught_by or str(Path("tests/unit", *path.parts[1:-1], f"test_{path.name}"))


def load_guards() -> list[Guard]:
    """Return the guards in the order of their file."""
    entries = tomllib.loads(Path(__file__).with_name("guards.toml").read_text(encoding="utf-8"))
    return [Guard(name, **entry | {"edit": tuple(entry["edit"])}) for name, entry in entries.items()]


def mutate(guard: Guard, engine: Path = ENGINE) -> tuple[Path, str]:
    """Return the file that holds the guard, relative to the engine's folder, and its source without the guard.

    Raises:
        AnchorError: the function or the pattern is not there.
    """
    path, names = _module_of(guard, engine)
    tree = ast.parse((engine / path).read_text(encoding="utf-8"))
    find, put = guard.edit
    count = _edit(_definition(guard, tree, names), _unwrap(_parse(find)[0]), _parse(put))
    if count != guard.times:
        raise AnchorError(f"{guard.name}: {guard.where} holds `{find}` {count} times, not {guard.times}")
    source = ast.unparse(ast.fix_missing_locations(tree))
    compile(source, str(path), "exec", dont_inherit=True)
    return path, source


def copy_engine(folder: Path, guard: Guard | None = None) -> None:
    """Copy the engine into a folder for PYTHONPATH, without the guard.

    Raises:
        AnchorError: see `mutate`.
    """
    shutil.copytree(ENGINE, folder, dirs_exist_ok=True, ignore=shutil.ignore_patterns("__pycache__"))
    if guard is not None:
        path, source = mutate(guard)
        (folder / path).write_text(source, encoding="utf-8")


def _module_of(guard: Guard, engine: Path) -> tuple[Path, list[str]]:
    names = guard.where.split(".")
    for length in range(len(names) - 1, 0, -1):
        path = Path(*names[:length]).with_suffix(".py")
        if (engine / path).is_file():
            return path, names[length:]
    raise AnchorError(f"{guard.name}: no module of the engine holds {guard.where}")


def _definition(guard: Guard, tree: ast.AST, names: list[str]) -> ast.AST:
    node = tree
    for name in names:
        found = [child for child in ast.iter_child_nodes(node) if _defined_name(child) == name]
        if len(found) != 1:
            raise AnchorError(f"{guard.name}: {guard.where} does not exist")
        node = found[0]
    return node


def _defined_name(node: ast.AST) -> str | None:
    if isinstance(node, ast.FunctionDef | ast.ClassDef):
        return node.name
    target = node.target if isinstance(node, ast.AnnAssign) else None
    return target.id if isinstance(target, ast.Name) else None


def _parse(source: str) -> list[Any]:
    """Return statements, or the keyword argument."""
    if _KEYWORD.match(source):
        call: Any = ast.parse(f"_({source})", mode="eval").body
        return list(call.keywords)
    return list(ast.parse(source).body)


def _edit(node: ast.AST, pattern: ast.AST, replacement: list[Any]) -> int:
    """Replace each match below a node; return how many there are."""
    count = 0
    for field, value in ast.iter_fields(node):
        if isinstance(value, list):
            edited: list[Any] = []
            for child in value:
                found = _matches(pattern, _unwrap(child))
                count += found or (_edit(child, pattern, replacement) if isinstance(child, ast.AST) else 0)
                in_place = replacement if isinstance(child, ast.stmt) else map(_unwrap, replacement)
                edited.extend(in_place if found else [child])
            setattr(node, field, edited or ([ast.Pass()] if field == "body" else []))
        elif isinstance(value, ast.AST):
            found = _matches(pattern, value)
            count += found or _edit(value, pattern, replacement)
            if found:
                setattr(node, field, _unwrap(replacement[0]))
    return count


def _matches(pattern: Any, found: Any) -> bool:
    if isinstance(pattern, ast.Name) and pattern.id == "_":
        return isinstance(found, ast.expr)
    if type(pattern) is not type(found):
        return False
    if isinstance(pattern, ast.Call) and _is_ellipsis(pattern.args):
        return _matches(pattern.func, found.func)
    if isinstance(pattern, ast.AST):
        fields = (name for name in pattern._fields if name not in _IGNORED_FIELDS)
        return all(_matches(getattr(pattern, name), getattr(found, name)) for name in fields)
    if isinstance(pattern, list):
        return _is_ellipsis(pattern) or (len(pattern) == len(found) and all(map(_matches, pattern, found)))
    return bool(pattern == found)


def _is_ellipsis(nodes: list[Any]) -> bool:
    only = _unwrap(nodes[0]) if len(nodes) == 1 else None
    return isinstance(only, ast.Constant) and only.value is ...


def _unwrap(node: Any) -> Any:
    """Return the expression of an expression statement; another node as it is."""
    return node.value if isinstance(node, ast.Expr) else node
