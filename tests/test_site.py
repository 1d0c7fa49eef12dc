"""The documentation as a site, which builds strictly and needs no network, and its tutorials as notebooks."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.test_documents import blocks

ROOT = Path(__file__).parent.parent
TUTORIALS = sorted((ROOT / "docs" / "tutorials").glob("*.md"))
RESOURCE = re.compile(r"<(?:script|img|link|iframe|source)\b[^>]*?\b(?:src|href)=\"(https?:)?//[^\"]*\"")


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    for module in ("mkdocs", "material", "mkdocstrings_handlers.python", "latex2mathml"):
        pytest.importorskip(module, reason="the site is built with pip install 'nfsolve[docs]'")
    out = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(out)]
    done = subprocess.run(
        command, cwd=ROOT, env=os.environ | {"NO_MKDOCS_2_WARNING": "1"}, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return out


def test_the_site_loads_nothing_from_the_network(site):
    pages = list(site.rglob("*.html"))
    assert len(pages) > 60
    loaded = {page.name: RESOURCE.findall(page.read_text()) for page in pages}
    assert not {name: found for name, found in loaded.items() if found}


def test_the_site_has_what_docs_alone_has_not(site):
    assert "<math" in (site / "theory.html").read_text()
    assert "Levenberg-Marquardt" in (site / "api" / "optimizers.html").read_text()
    assert 'href="ct.html"' in (site / "benchmarks" / "index.html").read_text()
    assert "class Burgers" in re.sub("<[^>]*>", "", (site / "source/problems/pde/burgers.py.html").read_text())


@pytest.mark.parametrize("tutorial", TUTORIALS, ids=lambda path: path.stem)
def test_a_notebook_has_the_code_of_its_tutorial(tutorial):
    jupytext = pytest.importorskip("jupytext", reason="notebooks are made with pip install 'nfsolve[docs]'")
    cells = jupytext.read(tutorial).cells
    code = [cell.source.strip() for cell in cells if cell.cell_type == "code"]
    assert code == [block.strip() for _, block in blocks(tutorial)]  # which tests/test_documents.py runs


@pytest.mark.slow  # each trains as it is printed
@pytest.mark.parametrize("tutorial", TUTORIALS, ids=lambda path: path.stem)
def test_a_notebook_runs(tutorial, tmp_path):
    jupytext = pytest.importorskip("jupytext", reason="notebooks are made with pip install 'nfsolve[docs]'")
    nbclient = pytest.importorskip("nbclient", reason="notebooks run with pip install nbclient ipykernel")
    pytest.importorskip("ipykernel", reason="notebooks run with pip install nbclient ipykernel")
    where = {"metadata": {"path": str(tmp_path)}}
    ran = nbclient.NotebookClient(
        jupytext.read(tutorial), timeout=900, kernel_name="python3", resources=where
    ).execute()
    cells = [cell for cell in ran.cells if cell.cell_type == "code"]
    assert [cell.execution_count for cell in cells] == list(range(1, len(cells) + 1))
