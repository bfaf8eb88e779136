"""Who may import whom: one direction, no cycle, third parties where they belong."""

import ast

import pytest
from imports import ROOT, direct, imported

LIBRARY = sorted((ROOT / "gim_cv").rglob("*.py"))
NAMES = {path: path.relative_to(ROOT / "gim_cv").with_suffix("").as_posix() for path in LIBRARY}

# A module may import modules of its own floor and of those below. Two wings stand side by side on
# floors 1 and 2: the data wing, and the learning wing (keras only), which meet on floor 3.
GROUND = {
    "__init__", "atomic", "binding", "catalog", "codec", "config", "entries", "errors", "functions",
    "grid", "patches", "recipe", "stage", "template", "unfinished", "yamlfile",
}  # fmt: skip
DATA = {
    "baseline", "batches", "augment", "certificate", "combine", "curves", "feed", "footprints",
    "ground", "intervals", "labels", "manifest", "maskraster", "pairs", "pooling", "pruning",
    "raster", "rasterfile", "resample", "sampling", "scatter", "scene", "scheduling", "schema",
    "scores", "shapes", "shift", "shuffle", "sources", "statistics", "store", "tally", "territory",
    "vectors", "verify", "writer", "ownership", "audit", "datasets", "training", "preprocessing",
    "agreement", "pooled", "passes", "standing", "blending", "cog", "maps", "polygons", "strips",
    "scanning", "symmetry",
}  # fmt: skip
LEARNING = {
    "losses",
    "measures",
    "models",
    "metrics",
    "optimizers",
    "serial",
    "averaging",
    "backend",
}
PURE_DATA = DATA - {
    "augment",
    "baseline",
    "batches",
    "datasets",
    "feed",
    "pooled",
    "training",
    "preprocessing",
}
HEAVY = {"keras", "tensorflow", "albumentations", "jax", "sklearn", "torch"}


def part(path):
    return NAMES[path].split("/")[0]


def third_parties(path):
    return {name.split(".")[0] for name in imported(path)}


@pytest.mark.parametrize("path", LIBRARY, ids=NAMES.get)
def test_wings_do_not_touch(path):
    others = {part(p) for p in direct(path) if p in NAMES}
    if part(path) in GROUND:
        assert others <= GROUND
    if part(path) in DATA | {"pipelines"}:
        assert not others & LEARNING
    if part(path) in LEARNING:
        assert others <= GROUND | LEARNING


@pytest.mark.parametrize("path", LIBRARY, ids=NAMES.get)
def test_heavy_libraries_stay_in_their_modules(path):
    heavy = third_parties(path) & HEAVY
    if part(path) in GROUND | PURE_DATA:
        assert not heavy
    if "albumentations" in heavy:
        assert part(path) == "augment"
    assert not heavy & {"tensorflow", "torch"} or part(path) == "backend"


def modules_behind(path):
    """The modules that a file imports, directly or not, without packages' own files."""
    seen, todo = set(), [path]
    while todo:
        found = {p for p in direct(todo.pop()) if p.stem != "__init__"} - seen
        seen |= found
        todo.extend(found)
    return seen


@pytest.mark.parametrize("path", LIBRARY, ids=NAMES.get)
def test_no_cycle(path):
    assert path not in modules_behind(path)


@pytest.mark.parametrize("path", LIBRARY, ids=NAMES.get)
def test_the_library_raises_errors_of_its_own_and_never_asserts(path):
    tree = ast.parse(path.read_text(encoding="utf-8"))
    assert not [node for node in ast.walk(tree) if isinstance(node, ast.Assert)]


@pytest.mark.parametrize("path", LIBRARY, ids=NAMES.get)
def test_files_stay_small(path):
    assert len(path.read_text(encoding="utf-8").splitlines()) <= 350


def test_nothing_is_called_utils():
    assert not {"utils", "helpers", "manager", "base", "common", "misc"} & {p.stem for p in LIBRARY}
