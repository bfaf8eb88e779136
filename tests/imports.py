"""Which modules of this repository a file imports, read from its syntax."""

import ast
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def module_path(name: str) -> Path | None:
    """The repository's file for a dotted module name, if it is one of ours."""
    stem = ROOT.joinpath(*name.split("."))
    for path in (stem.with_suffix(".py"), stem / "__init__.py"):
        if path.is_file():
            return path
    return None


def _is_type_checking(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)


def _names(node: ast.AST):
    for child in ast.iter_child_nodes(node):
        if _is_type_checking(child):
            continue
        if isinstance(child, ast.Import):
            yield from (alias.name for alias in child.names)
        elif isinstance(child, ast.ImportFrom) and child.module and not child.level:
            yield child.module
            yield from (f"{child.module}.{alias.name}" for alias in child.names)
        else:
            yield from _names(child)


@cache
def imported(path: Path) -> frozenset[str]:
    """Dotted names that a file imports, at any depth of its syntax."""
    return frozenset(_names(ast.parse(path.read_text(encoding="utf-8"))))


def direct(path: Path) -> set[Path]:
    """The repository's files that a file imports."""
    found = {module_path(name) for name in imported(path) if name.startswith(("gim_cv", "stages"))}
    parents = {p.parent / "__init__.py" for p in found if p}
    return {p for p in found | parents if p and p.is_file()} - {path}


@cache
def closure(path: Path) -> frozenset[Path]:
    """A file and all of the repository's files that it imports, directly or not."""
    seen: set[Path] = set()
    todo = [path]
    while todo:
        here = todo.pop()
        if here not in seen:
            seen.add(here)
            todo.extend(direct(here))
    return frozenset(seen)
