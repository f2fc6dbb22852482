"""Pages of documentation: what they quote is as it is, their links lead somewhere, their code compiles."""

import ast
import importlib
import importlib.util
import re
import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]
DOCS = REPOSITORY / "docs"
PAGES = [REPOSITORY / "README.md", *sorted(DOCS.rglob("*.md"))]
MOST_LINES = 150

pytestmark = pytest.mark.quick


def page_name(path: Path) -> str:
    return str(path.relative_to(REPOSITORY))


def program(path: str):
    """A program of the documentation, which is in no package."""
    spec = importlib.util.spec_from_file_location(Path(path).stem, DOCS / path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def anchors(text: str) -> set[str]:
    """What links may name behind the #, as GitHub and MkDocs make it."""
    titles = re.findall(r"^#+ (.*)$", re.sub(r"```.*?```", "", text, flags=re.S), re.M)
    return {re.sub(r"[^\w -]", "", title.lower()).strip().replace(" ", "-") for title in titles}


def test_readme_is_short() -> None:
    assert len((REPOSITORY / "README.md").read_text().splitlines()) <= MOST_LINES


@pytest.mark.parametrize("path", PAGES, ids=page_name)
def test_docstrings_are_quoted_as_they_are(path: Path) -> None:
    """``python docs/docstrings.py`` puts them in."""
    text = path.read_text()
    assert program("docstrings.py").quoted(text) == text


def test_docstrings_are_quoted() -> None:
    """A changed quotation would be put right, so the test above sees it."""
    text = (DOCS / "packets.md").read_text()
    assert program("docstrings.py").quoted(text.replace(" 0x6b", " 0x6c")) == text
    assert " 0x6b" in text


@pytest.mark.parametrize("path", PAGES, ids=page_name)
def test_links_lead_somewhere(path: Path) -> None:
    """To files of the repository and to titles in them; pages of the site lead to no file outside of it."""
    text = re.sub(r"```.*?```", "", path.read_text(), flags=re.S)
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if "://" in target:
            continue
        name, _, anchor = target.partition("#")
        found = (path.parent / name).resolve() if name else path
        assert found.exists(), target
        if path.is_relative_to(DOCS):
            assert found.is_relative_to(DOCS), target
        assert not anchor or anchor in anchors(found.read_text()), target


@pytest.mark.parametrize("path", PAGES, ids=page_name)
def test_python_compiles_and_imports_what_there_is(path: Path) -> None:
    for block in re.findall(r"```python\n(.*?)```", path.read_text(), re.S):
        for node in ast.walk(ast.parse(block)):
            if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("golden"):
                if node.module == "golden.pytorch" and importlib.util.find_spec("torch") is None:
                    continue
                module = importlib.import_module(node.module)
                assert all(hasattr(module, name.name) for name in node.names)


def test_the_picture_is_that_of_edge() -> None:
    """``python docs/images/draw_blocks.py > docs/images/blocks.svg``: its widths are those of the ports."""
    assert program("images/draw_blocks.py").draw() == (DOCS / "images/blocks.svg").read_text()


def test_every_page_is_reached() -> None:
    """From the table of the first page; MkDocs sees that the navigation has all of them."""
    first = (DOCS / "index.md").read_text() + (DOCS / "systems/index.md").read_text().replace(
        "](", "](systems/"
    )
    reached = set(re.findall(r"\]\(([\w/]+\.md)", first)) | {"index.md", "systems/index.md"}
    assert {str(path.relative_to(DOCS)) for path in DOCS.rglob("*.md")} == reached


def test_the_site_builds(tmp_path: Path) -> None:
    """Strictly: a warning is an error."""
    pytest.importorskip("mkdocs", reason="pip install '.[docs]'")
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(tmp_path / "site")],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert "WARNING" not in done.stderr
    assert (tmp_path / "site/systems/vidkv/index.html").exists()
