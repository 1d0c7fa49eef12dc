"""What the documentation site adds to docs/: pages made from other files of the repository, and formulas as MathML.

MkDocs calls these functions (``hooks:`` in mkdocs.yml). Links from docs/ to files outside of it, such as
``../benchmarks/ct.md`` or ``../problems/pde/burgers.py``, work where the repository is read; on the site each leads to
a page made of that file, so that the site needs no other.
"""

import posixpath
import re
from html import unescape
from pathlib import Path
from typing import Any

from latex2mathml.converter import convert
from mkdocs.structure.files import File, Files

ROOT = Path(__file__).resolve().parent.parent
LINK = re.compile(r"(\]\()((?:\.\./)+[^)#\s]+)")
FORMULA = re.compile(r'<(span|div) class="arithmatex">\\[(\[](.*?)\\[)\]]</\1>', re.S)
PROJECT = ("ARCHITECTURE.md", "CONTRIBUTING.md", "CHANGELOG.md")


def on_files(files: Files, config: Any) -> Files:
    """Add benchmarks, project pages, and every source file that a page links to."""
    for path in sorted((ROOT / "benchmarks").glob("*")):
        if path.suffix in (".md", ".png"):
            content = path.read_bytes() if path.suffix == ".png" else _linked(path.read_text(), path)
            files.append(File.generated(config, f"benchmarks/{path.name}", content=content))
    files.append(File.generated(config, "benchmarks/index.md", content=_benchmarks()))
    for name in PROJECT:
        text = _linked((ROOT / name).read_text(), ROOT / name)
        files.append(File.generated(config, f"project/{name}", content=text))
    for source in sorted(_sources(files)):
        files.append(File.generated(config, _place(source), content=_listing(source)))
    return files


def on_page_markdown(markdown: str, page: Any, config: Any, files: Files) -> str:
    """Let links that leave docs/ lead to the pages made of their files."""
    origin = page.file.abs_src_path
    return markdown if origin is None else _linked(markdown, Path(origin))


def on_page_content(html: str, page: Any, config: Any, files: Files) -> str:
    """Write formulas as MathML, which browsers draw by themselves."""

    def formula(match: re.Match[str]) -> str:
        return convert(unescape(match[2]).strip(), display="block" if match[1] == "div" else "inline")

    return FORMULA.sub(formula, html)


def _place(path: Path) -> str:
    """Return where the site has a file of the repository, from the root of the site."""
    name = path.relative_to(ROOT).as_posix()
    if name in PROJECT:
        return f"project/{name}"
    if name == "README.md":
        return "index.md"
    if name.startswith("docs/"):
        return name.removeprefix("docs/")
    if name.startswith("benchmarks/") and path.suffix in (".md", ".png"):
        return name
    return f"source/{name}.md"


def _linked(text: str, origin: Path) -> str:
    """Rewrite the relative links of a page, as it stands in the repository, to those of the site."""
    here = posixpath.dirname(_place(origin))

    def link(match: re.Match[str]) -> str:
        target = (origin.parent / match[2]).resolve()
        if not target.is_relative_to(ROOT) or not target.is_file():
            return match[0]  # MkDocs says that it is not found
        return match[1] + posixpath.relpath(_place(target), here)

    pattern = LINK if "docs" in origin.parts else re.compile(r"(\]\()((?!\w+:|#)[^)#\s]+)")
    return pattern.sub(link, text)


def _sources(files: Files) -> set[Path]:
    """Return the files of the repository that pages show as listings."""
    found = set()
    for file in files.documentation_pages():
        if file.abs_src_path is None:
            continue
        for match in LINK.finditer(Path(file.abs_src_path).read_text()):
            target = (Path(file.abs_src_path).parent / match[2]).resolve()
            if target.is_relative_to(ROOT) and target.is_file() and _place(target).startswith("source/"):
                found.add(target)
    return found


def _listing(path: Path) -> str:
    language = {".py": "python", ".sh": "bash", ".json": "json"}.get(path.suffix, "text")
    return f"# {path.relative_to(ROOT).as_posix()}\n\n````{language}\n{path.read_text()}\n````\n"


def _benchmarks() -> str:
    """Write the list of all benchmarks, each with its title."""
    rows = []
    for path in sorted((ROOT / "benchmarks").glob("*.md")):
        title = path.read_text().partition("\n")[0].removeprefix("# ")
        rows.append(f"| [{title}]({path.name}) | `benchmarks/{path.stem}.json` |")
    head = (
        "# All benchmarks\n\nEach page was written by a command of the repository, which also wrote the rows beside it."
    )
    return "\n".join([head, "", "| page | rows |", "|---|---|", *rows, ""])
