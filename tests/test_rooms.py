"""The order of rooms: every import, lazy ones included, leads to the same room or one nearer the ground."""

import ast
import importlib
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[1]

pytestmark = pytest.mark.quick

ROOMS = (
    "numbers",
    "activations",
    "weights",
    "pe",
    "kv",
    "attention",
    "selection",
    "systems",
    "vector",
    "core",
)
ROOMS += ("baseline", "checkpoint", "model", "pytorch")
"""From the ground up, the same in every tree."""

GROUND = {"golden": ("optional",), "hw": ("sharing", "config", "payloads", "bus"), "sim": ("bus",)}
"""What lies below the rooms, in this order; of ``sim`` it is every file that is not a bench."""

TREES = {"golden": (), "hw": ("golden",), "sim": ("golden", "hw"), "synth": ("golden", "hw", "sim")}
"""Which other trees each one may import."""


def modules(tree: str) -> dict[str, Path]:
    """Dotted name to file of a tree; a package stands for its ``__init__``."""
    paths = sorted((REPOSITORY / tree).rglob("*.py"))
    names = (".".join(path.relative_to(REPOSITORY).with_suffix("").parts) for path in paths)
    return {name.removesuffix(".__init__"): path for name, path in zip(names, paths, strict=True)}


def imported(path: Path, known: dict[str, Path]) -> Iterator[tuple[int, str]]:
    """Line and module of every import of a file; of ``from package import module`` the module."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            for alias in node.names:
                inner = f"{node.module}.{alias.name}"
                yield node.lineno, inner if inner in known else node.module


def height(module: str) -> int:
    """How far above the ground a module of golden, hw or sim lies."""
    tree, *parts = module.split(".")
    ground = GROUND.get(tree, ())
    if tree == "sim":
        if parts[:1] not in (["benches"], ["proofs"]):
            return len(ROOMS) + 1 if parts[:1] == ["workloads"] else -1
        parts = parts[1:]
    if parts and parts[0] in ground:
        return ground.index(parts[0]) - len(ground)
    return ROOMS.index(parts[0]) if parts and parts[0] in ROOMS else len(ROOMS)


def arrows(tree: str) -> Iterator[tuple[str, int, str]]:
    """Module, line and imported module of every import within the project."""
    known = {name: path for each in TREES for name, path in modules(each).items()}
    for module, path in modules(tree).items():
        for line, target in imported(path, known):
            if target.split(".")[0] in TREES:
                yield module, line, target


@pytest.mark.parametrize("tree", TREES)
def test_trees(tree: str) -> None:
    allowed = {tree, *TREES[tree]}
    assert not [arrow for arrow in arrows(tree) if arrow[2].split(".")[0] not in allowed]


@pytest.mark.parametrize("tree", ["golden", "hw", "sim"])
def test_rooms(tree: str) -> None:
    inner = [arrow for arrow in arrows(tree) if arrow[2].split(".")[0] == tree]
    assert inner
    assert not [(module, line, target) for module, line, target in inner if height(target) > height(module)]


def test_golden_below_the_models_needs_little() -> None:
    """NumPy for every number; safetensors, the file format of packed caches; gguf to read its files."""
    known = modules("golden")
    allowed = {"golden", "numpy", "safetensors", *sys.stdlib_module_names}
    found = {
        (module, target)
        for module, path in known.items()
        if height(module) < ROOMS.index("model")
        for _, target in imported(path, known)
        if target.split(".")[0] not in allowed
    }
    assert found == {("golden.checkpoint.gguf_reader", "gguf")}


def test_every_room_is_known() -> None:
    for tree in ("golden", "hw", "sim/benches"):
        folders = {path.name for path in (REPOSITORY / tree).iterdir() if (path / "__init__.py").exists()}
        assert folders <= {*ROOMS, "bus", "kv", "driver"}


@pytest.mark.parametrize(
    ("module", "name"),
    [
        ("golden.datatypes", "get"),
        ("golden.weights", "quantize"),
        ("golden.weights", "QuantizedWeights"),
        ("golden.layout", "pack"),
        ("golden.layout", "unpack"),
        ("golden.matvec", "matvec"),
        ("golden.checkpoint", "open_checkpoint"),
        ("golden.kv", "get"),
        ("golden.kv.affine", "quantize"),
        ("golden.kv.affine", "dequantize"),
        ("golden.kv.formats", "Format"),
        ("hw.blocks", "get"),
    ],
)
def test_names_that_stay(module: str, name: str) -> None:
    assert callable(getattr(importlib.import_module(module), name))
