"""Code and commands of the documents, run as printed there; training is cut short."""

import dataclasses
import importlib
import json
import math
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.io import wavfile

import nfsolve as nf
from nfsolve.cli import run_cli
from nfsolve.cli.log import take_log
from nfsolve.data.photos import write_transforms
from nfsolve.options.request import read_request
from nfsolve.problem.registry import find
from nfsolve.studies.comparison.jobs import Workers
from problems.nerf.scene import NeRFScene
from problems.pde.burgers import Burgers

ROOT = Path(__file__).parent.parent
DOCUMENTS = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])
UNFINISHED = re.compile(r"\b(NAME|VALUE|WHAT|N)\b|\.\.\.| [a-z]*\||^nfsolve (eval|show|compare)$")  # forms of one


def blocks(document: Path) -> list[tuple[int, str]]:
    """Return the blocks of Python in a document with their first lines."""
    text = document.read_text()
    found = re.finditer(r"^```python\n(.*?)^```", text, re.M | re.S)
    return [(text[: match.start(1)].count("\n"), match[1]) for match in found]


def commands(programs: str) -> Iterator[str]:
    """Yield the commands of all documents that begin with one of some programs, lines and inline code."""
    for document in DOCUMENTS:
        if document.parent.name == "gallery":  # made from docstrings, and from commands that were run
            continue
        text = document.read_text()
        fenced = "\n".join(re.findall(r"^```bash\n(.*?)^```", text, re.M | re.S))
        for place, where in ((r"^    (%s)", text), (r"^(%s)", fenced), (r"`(%s)`", text)):
            for line in re.findall(place % rf"(?:NFSOLVE_DATA=\S+ )?(?:{programs}) [^\n`]*", where, re.M):
                plain = line.partition("#")[0].strip().rstrip(";")
                if not UNFINISHED.search(plain):
                    yield " ".join(plain.split())


@pytest.fixture
def quick(monkeypatch, tmp_path):
    """Cut every training to two steps, and write into a folder of the test."""
    solve, compare = nf.solve, nf.compare

    def few_steps(*given, **options):
        if "stages" in options:
            short = {"stages": tuple(dataclasses.replace(stage, steps=2) for stage in options["stages"])}
        else:
            short = {"steps": 2}
        return solve(*given, **options | short | {"report": None})

    def few_runs(problem, methods, settings, **options):
        short = dataclasses.replace(settings, seeds=1, steps=1, tune=(), budgets=("steps",))
        return compare(problem, methods, short, **options)

    monkeypatch.setattr(nf, "solve", few_steps)
    monkeypatch.setattr(Workers, "_started", lambda self, jobs: ThreadPoolExecutor(1))  # the module is no file
    monkeypatch.setattr(nf, "compare", few_runs)
    monkeypatch.chdir(tmp_path)


WITH_CODE = [document for document in DOCUMENTS if blocks(document)]


@pytest.mark.filterwarnings("ignore:the field leaves.*unexplained:UserWarning")  # after two steps
@pytest.mark.parametrize("document", WITH_CODE, ids=lambda path: "/".join(path.relative_to(ROOT).parts))
def test_code_runs_as_printed(document, quick, monkeypatch):
    name = f"document_{document.stem}"
    module = type(sys)(name)
    monkeypatch.setitem(sys.modules, name, module)  # dataclasses look their module up
    for line, code in blocks(document):
        exec(compile("\n" * line + code, str(document), "exec"), module.__dict__)


def test_documents_with_code_are_found():
    assert {"README.md", "contract.md"} <= {document.name for document in WITH_CODE}
    assert len(set(commands("nfsolve"))) > 60


def test_the_readme_is_one_page():
    assert len((ROOT / "README.md").read_text().splitlines()) <= 150


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """Make a folder with all that the commands of the documents name: problems, data, finished runs."""
    folder = tmp_path_factory.mktemp("place")
    assert run_cli(["new", str(folder / "my_problem.py")]) == 0
    (folder / "my_burgers.py").write_text(first_block())
    (folder / "my_script.py").write_text("")
    x = np.linspace(0, 1, 8)
    np.savez(folder / "mine.npz", f=np.outer(np.arange(40), x), x=x, s=np.outer(np.arange(40), x**2))
    wavfile.write(folder / "mine.wav", 8000, np.sin(np.arange(4000) / 5).astype(np.float32))
    blur = blocks(ROOT / "docs" / "tutorials" / "measurement.md")[0][1].partition("solution =")[0]
    (folder / "my_blur.py").write_text(blur)
    torch.save({"x": torch.rand(40, 8), "y": torch.rand(40, 8)}, folder / "mine.pt")
    few = ["--steps", "2", "--device", "cpu"]
    for name in ("DIR", "A", "B", "burgers"):
        words = ["burgers", "--n-points", "60", *few] if name == "burgers" else ["poisson", "--n-points", "20", *few]
        assert run_cli(["run", *words, "--out", str(folder / "runs" / name)]) == 0
    return folder


COMMANDS = sorted(set(commands("nfsolve")))
RUNS = [c for c in COMMANDS if c.startswith("nfsolve run ") and "--resume" not in c]
READS = [
    c for c in COMMANDS if c.split()[1] in ("list", "doctor", "new", "show", "report", "eval", "cite", "completion")
]
READS += [c for c in COMMANDS if c.startswith("nfsolve compare") and "--axis" not in c]


@pytest.mark.parametrize("command", RUNS)
def test_commands_are_understood(command, place, monkeypatch):
    monkeypatch.chdir(place)
    command = command.replace("--pairs FILE", "--pairs mine.npz").replace("--audio FILE", "--audio mine.wav")
    _, _, what, *words = shlex.split(command)
    _, words = take_log(words)
    if what == "--help" or "--help" in words:
        return
    what = what.replace("FILE.py", "my_problem.py")
    if what.endswith("_scan"):  # whose sizes follow from their files, of which there are none here
        with pytest.raises(nf.InputError, match="was not found"):
            read_request(find(what), words, "nfsolve run")
        return
    assert read_request(find(what), words, "nfsolve run").options["run"]


SHORT = ["--steps", "2", "--device", "cpu"]
CASES_OF_SCANS = {"--axes": "stack", "--air": "air", "--limited": "arc"}  # options that need more than a plain sinogram


def trained(command: str) -> list[str]:
    """Return the words of a command with files of the test in the places of a user's, and with little to compute."""
    words = shlex.split(command.replace("FILE.py", "my_problem.py"))[2:]
    if "--solved" in words:
        words[words.index("--solved") + 1] = "50"
    scan = next((CASES_OF_SCANS[word] for word in words if word in CASES_OF_SCANS), "scan")
    files = {
        "--pairs": "mine.npz", "--audio": "mine.wav", "--mesh": "bunny.obj", "--coastlines": "coast.geojson",
        "--data": {"nerf": "scene", "ct_cone_scan": "cone.npz"}.get(words[0], f"{scan}.npz"),
    }  # fmt: skip
    for option, file in files.items():
        if option in words and words[words.index(option) + 1].partition(".")[0] in ("FILE", "FOLDER", "scan", "bunny"):
            words[words.index(option) + 1] = file
    by_trials = words[0] in ("klein_gordon", "my_burgers.py", "my_problem.py") or "auto" in words
    words += ["--time-limit", "4", "--device", "cpu"] if by_trials else SHORT
    words += ["--pairs", "mine.npz"] if words[0] == "deeponet_pairs" and "--pairs" not in words else []
    if words[0].startswith("ct_cone"):  # minutes at their usual size
        words += ["--size", "16"]
    return words + ["--frames", "0", "--mesh", "0"] * (words[0].startswith("nerf") and words[0] != "nerf_absorption")


@pytest.fixture(scope="module")
def files(place):
    """Add what only commands that train need: scans, a mesh, photographs, lines of a map."""
    trimesh = pytest.importorskip("trimesh")
    angles, bins = np.linspace(0, 180, 24, endpoint=False), np.linspace(-1, 1, 48)
    chords = 2 * np.sqrt(np.clip(0.2 - (bins - 0.2 * np.cos(np.radians(angles))[:, None]) ** 2, 0, None))
    known = {"angles_deg": angles, "geometry": "parallel", "spacing": 2 / 47}
    np.savez(place / "scan.npz", sinogram=chords, **known)
    np.savez(place / "stack.npz", sinogram=np.stack([chords] * 4, 1), **known)
    wide = np.pad(chords, ((0, 0), (24, 24)))
    np.savez(place / "air.npz", counts=np.round(1e4 * np.exp(-wide)), flat=1e4, **known)
    np.savez(place / "arc.npz", sinogram=0.036 * chords, limited_angles_deg=angles[:12], **known)
    beyond = (np.arange(16) - 7.5) * 0.3  # on the panel, of a ball in the middle
    far = np.hypot(beyond[:, None], beyond)
    ball = 2 * np.sqrt(np.clip(0.5 - (4 * far / np.hypot(8, far)) ** 2, 0, None))
    turned = {"angles_deg": np.arange(24) * 15.0, "geometry": "cone", "spacing": 0.3}
    np.savez(place / "cone.npz", sinogram=np.stack([ball] * 24), source_origin=4, source_detector_distance=8, **turned)
    trimesh.creation.icosphere(2, 0.7).export(place / "bunny.obj")
    lines = {"type": "LineString", "coordinates": [[-10, 0], [20, 30], [50, -20]]}
    (place / "coast.geojson").write_text(json.dumps(lines))
    write_transforms(place / "scene", NeRFScene(size=12, views=9).load_split("train"))
    return place


@pytest.mark.slow  # minutes in all: every problem is loaded at its full size
@pytest.mark.filterwarnings("ignore::UserWarning")  # after two steps there is much to warn of
@pytest.mark.parametrize("command", [c for c in RUNS if "--help" not in c])
def test_commands_that_train_do_so(command, files, monkeypatch, tmp_path):
    for file in files.iterdir():
        (tmp_path / file.name).symlink_to(file)
    monkeypatch.chdir(tmp_path)
    for module in ("my_problem", "my_burgers", "my_blur"):
        monkeypatch.delitem(sys.modules, module, raising=False)
    if "wandb" in command or "tensorboard" in command:
        pytest.importorskip("wandb" if "wandb" in command else "tensorboard")
    assert run_cli(["run", *trained(command), "--out", "out"]) == 0
    assert (tmp_path / "out" / "metrics.json").is_file()


@pytest.mark.parametrize("command", READS)
def test_commands_that_do_not_train_do_what_they_say(command, place, monkeypatch, tmp_path):
    (tmp_path / "runs").symlink_to(place / "runs")
    for file in place.glob("*.*"):
        (tmp_path / file.name).symlink_to(file)
    monkeypatch.chdir(tmp_path)
    verb, *words = shlex.split(command)[1:]
    words = ["runs/DIR" if word == "DIR" else word for word in words]
    if verb == "new":
        (tmp_path / words[0]).unlink(missing_ok=True)
        monkeypatch.delitem(sys.modules, Path(words[0]).stem, raising=False)
    assert run_cli([verb, *words]) == 0


@pytest.mark.parametrize("command", [c for c in COMMANDS if c not in RUNS and c not in READS])
def test_other_commands_have_the_options_that_they_are_given(command):
    _, verb, *words = shlex.split(command)
    usage = importlib.import_module("nfsolve.cli.commands").__dict__["USAGE"]
    assert f"  {verb}" in usage
    places = [*(ROOT / "nfsolve/cli").glob("*.py"), *(ROOT / "problems/nerf").glob("*.py")]
    places += [ROOT / "nfsolve/options/request.py", *(ROOT / "nfsolve/studies").rglob("*.py")]
    known = {name.replace("_", "-") for path in places for name in re.findall(r"\w[\w-]*", path.read_text())}
    given = [word.lstrip("-").partition(".")[0] for word in words if word.startswith("--")]
    assert set(given) <= known


@pytest.mark.parametrize("command", sorted(set(commands("make|bash|python -m|torchrun"))))
def test_programs_of_the_repository_exist_with_their_options(command):
    words = [word for word in shlex.split(command) if not word.startswith("NFSOLVE_DATA=")]
    if words[0] == "make":
        assert re.search(rf"^{words[1]}:", (ROOT / "Makefile").read_text(), re.M)
        return
    if words[0] == "bash":
        assert (ROOT / words[1]).is_file()
        return
    if words[0] == "torchrun":
        words = words[words.index("-m") - 1 :]
    module = words[2]
    if module in ("nfsolve", "http.server", "pip", "pytest"):
        return
    source = (ROOT / (module.replace(".", "/") + ".py")).read_text()
    if "measuring" in source:  # the options that all measurements share
        source += (ROOT / "scripts" / "measuring.py").read_text()
    missing = [word for word in words[3:] if word.startswith("--") and f'"{word}"' not in source]
    assert not missing


LINKED = re.compile(r"\]\(((?!\w+:|#)[^)\s]+?)(?:#[^)]*)?\)")


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: "/".join(path.relative_to(ROOT).parts))
def test_links_lead_to_files(document):
    text = re.sub(r"^```.*?^```|`[^`\n]*`", "", document.read_text(), flags=re.M | re.S)
    missing = [link for link in LINKED.findall(text) if not (document.parent / link).exists()]
    generated = {"benchmarks/index.md"}  # pages that only the site has
    assert not set(missing) - generated


def first_block() -> str:
    return blocks(ROOT / "README.md")[0][1]


def test_a_new_pde_runs_as_a_file(tmp_path):
    (tmp_path / "mine.py").write_text(first_block())
    out = tmp_path / "run"
    code = run_cli(["run", str(tmp_path / "mine.py"), "--nu", "0.05", "--steps", "3", "--out", str(out)])
    assert code == 0
    assert nf.RunFolder(out).config()["problem"]["parameters"]["nu"] == 0.05
    assert nf.load(out)(torch.zeros(2, 2)).shape == (2, 1)
    process = subprocess.run(
        [sys.executable, str(tmp_path / "mine.py"), "--nu", "0.1", "--steps", "2", "--out", str(tmp_path / "two")],
        capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert process.returncode == 0, process.stderr
    assert "step limit: 2 steps" in process.stdout
    assert nf.reopen(tmp_path / "two").steps == 2


def test_a_file_whose_last_line_is_main_without_a_guard_runs_too(tmp_path):
    head, _, _ = first_block().partition('if __name__ == "__main__":')
    (tmp_path / "bare.py").write_text(f"{head}main(Burgers)\n")
    assert run_cli(["run", str(tmp_path / "bare.py"), "--steps", "1", "--out", str(tmp_path / "run")]) == 0
    assert nf.reopen(tmp_path / "run").steps == 1


def test_a_command_is_recorded_as_it_was_given(tmp_path):
    out = tmp_path / "run"
    words = "run burgers --nu 0.02 --field.activation sine --field.init ws --field.init.alpha 1.5 --optimizer esgd"
    assert f"nfsolve {words}" in set(commands("nfsolve"))
    assert run_cli([*words.split(), "--steps", "2", "--out", str(out)]) == 0
    config = nf.RunFolder(out).config()
    assert config["problem"]["parameters"]["nu"] == 0.02
    assert config["field"]["init"]["alpha"] == 1.5
    assert config["stages"][0]["optimizer"]["partial"].endswith("ESGD")


def test_a_residual_method_compiles_and_maps():
    problem = Burgers()
    values = [torch.rand(5, 1, dtype=torch.float64) for _ in range(4)]
    expected = problem.momentum(*values)
    assert torch.equal(torch.func.vmap(problem.momentum)(*values), expected)


def test_the_main_module_of_a_problem_is_its_command():
    module = importlib.import_module("problems.pde.burgers")
    assert Path(str(module.__file__)).read_text().rstrip().endswith("main(Burgers)")
    with pytest.raises(SystemExit) as left:
        nf.main(module.Burgers, ["--help"])
    assert left.value.code == 0
    assert math.isclose(module.Burgers().nu, 0.01 / math.pi)


def test_the_files_of_the_walks_exist():
    walks = (ROOT / "ARCHITECTURE.md").read_text().partition("## Walks")[2].partition("\n## ")[0]
    named = [re.findall(r"`(\w+(?:/\w+)+)`", walk) for walk in walks.split("\n- ")[1:]]
    assert len(named) == 5
    for files in named:
        assert 4 <= len(set(files)) <= 12
        for file in files:
            assert any((ROOT / room / f"{file}.py").exists() for room in ("nfsolve", ".")), file
