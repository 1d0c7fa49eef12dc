"""Runs that nothing can spoil: folders, resumption after kill -9, damaged files, full disks."""

import json
import math
import os
import random
import re
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import pytest
import torch

import nfsolve as nf
from nfsolve import MLP, Stage, optim
from nfsolve._core.errors import InputError
from nfsolve.plot.solution import save_pictures
from nfsolve.run.clock import OutOfTime
from nfsolve.run.folder import RunFolder, SaveError, load_tensors
from problems.pde.burgers import Burgers
from problems.pde.poisson import Poisson

SMALL = partial(MLP, width=6, depth=1)
STAGES = (
    Stage(partial(optim.Adam, lr=1e-2), 12, resample=5, schedule="cosine"),
    Stage(optim.GaussNewton, 14, resample=4, points=0.5),
    Stage(partial(optim.LBFGS, max_iter=3, line_search_fn="strong_wolfe"), 6),
    Stage(partial(optim.ESGD, lr=1e-2, refresh_every=3, warmup=2), 12),
)


def run(out: Path, **options):
    problem = Burgers(n_points=40, n_face=10)
    options = {"stages": STAGES, "log_every": 4, "dtype": "float64"} | options
    return nf.solve(problem, SMALL, out=out, **options)


def state(folder: Path) -> dict:
    saved = RunFolder(folder).load_checkpoint()
    assert saved is not None
    for name in ("seconds", "cpu_seconds", "elapsed", "began", "parts", "peak_bytes"):
        saved.pop(name)
    for row in saved["history"]:
        row.pop("seconds")
        row.pop("cpu_seconds")
    return saved


def identical(a, b) -> bool:
    if isinstance(a, torch.Tensor):
        return torch.equal(a, b)
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(identical(a[key], b[key]) for key in a)
    if isinstance(a, list | tuple):
        return len(a) == len(b) and all(map(identical, a, b))
    return a == b or (a != a and b != b)


def test_a_run_folder_holds_what_it_should(tmp_path):
    solution = run(tmp_path / "run")
    names = {path.name for path in (tmp_path / "run").iterdir()}
    assert {
        "config.json",
        "environment.json",
        "history.csv",
        "metrics.json",
        "checkpoint.pt",
        "field.pt",
    } <= names
    metrics = json.loads((tmp_path / "run" / "metrics.json").read_text())
    for key in ("relative_l2", "relative_l2/u", "max_error/u", "reference_floor/u", "seconds", "evaluations",
                "steps", "parameters", "stopped"):  # fmt: skip
        assert key in metrics
    assert metrics["steps"] == 44
    header = (tmp_path / "run" / "history.csv").read_text().splitlines()[0].split(",")
    assert header[:4] == ["step", "seconds", "evaluations", "loss"]
    assert "rms/momentum" in header
    environment = json.loads((tmp_path / "run" / "environment.json").read_text())
    assert environment["torch"] == torch.__version__
    assert "step limit" in solution.stopped
    assert not [name for name in names if "part" in name]


def test_the_same_seed_gives_the_same_run(tmp_path):
    run(tmp_path / "a")
    run(tmp_path / "b")
    run(tmp_path / "c", seed=1)
    assert identical(state(tmp_path / "a"), state(tmp_path / "b"))
    assert not identical(state(tmp_path / "a")["system"], state(tmp_path / "c")["system"])


@pytest.mark.parametrize("stop_at", [3, 17, 29, 33, 41])
def test_an_interrupted_run_resumes_bit_identically(tmp_path, monkeypatch, stop_at):
    whole = run(tmp_path / "whole")
    monkeypatch.setattr("nfsolve.run.loop.CHECKPOINT_SECONDS", 0.0)  # a checkpoint after every step

    class Stop(Exception):
        pass

    original = nf.RunFolder.save_checkpoint

    def save_then_die(self, saved):
        original(self, saved)
        if saved["steps"] == stop_at:
            raise Stop

    monkeypatch.setattr("nfsolve.run.folder.RunFolder.save_checkpoint", save_then_die)
    with pytest.raises(Stop):
        run(tmp_path / "parts")
    monkeypatch.setattr("nfsolve.run.folder.RunFolder.save_checkpoint", original)
    resumed = nf.resume(tmp_path / "parts")
    assert identical(state(tmp_path / "whole"), state(tmp_path / "parts"))
    assert resumed.metrics["relative_l2"] == whole.metrics["relative_l2"]


@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGTERM])
def test_a_run_that_was_interrupted_ends_with_the_rows_of_one_that_was_not(tmp_path, monkeypatch, sent):
    run(tmp_path / "whole")
    original = optim.Adam.step

    def step(self, closure):
        if not (tmp_path / "sent").exists():
            (tmp_path / "sent").touch()
            signal.raise_signal(sent)
        return original(self, closure)

    monkeypatch.setattr(optim.Adam, "step", step)
    assert run(tmp_path / "parts").stopped.startswith(f"stopped by {'user' if sent == signal.SIGINT else 'SIGTERM'}")
    nf.resume(tmp_path / "parts")
    assert identical(state(tmp_path / "whole"), state(tmp_path / "parts"))


def start(folder: Path, steps: int) -> subprocess.Popen:
    script = (
        "import nfsolve.run.loop; nfsolve.run.loop.CHECKPOINT_SECONDS = 0.0\n"
        "from nfsolve.cli import run_cli\n"
        "import sys; sys.exit(run_cli(sys.argv[1:]))"
    )
    command = [sys.executable, "-c", script, "run"]
    if (folder / "config.json").exists():
        command += ["--resume", str(folder)]
    else:
        command += ["poisson", "--steps", str(steps), "--field.width", "8", "--out", str(folder)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def test_kill_minus_nine_at_random_moments_spoils_nothing(tmp_path):
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    process = start(whole, 120)
    output = process.communicate(timeout=120)[0]
    assert process.returncode == 0, output
    dice = random.Random(0)
    for _ in range(3):
        process = start(parts, 120)
        deadline = time.monotonic() + 60
        while not (parts / "checkpoint.pt").exists() and time.monotonic() < deadline:
            time.sleep(0.05)
        time.sleep(dice.uniform(0.0, 0.6))
        process.send_signal(signal.SIGKILL)
        process.communicate()
    process = start(parts, 120)
    output = process.communicate(timeout=120)[0]
    assert process.returncode == 0, output
    assert identical(state(whole), state(parts))


def test_ctrl_c_saves_and_says_how_to_resume(tmp_path):
    folder = tmp_path / "run"
    process = start(folder, 100000)
    deadline = time.monotonic() + 60
    while not (folder / "checkpoint.pt").exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    output = process.communicate(timeout=60)[0]
    assert process.returncode == 130, output
    assert f"nfsolve run --resume {folder}" in output
    assert re.search(r"stopped by user after \d+ steps; saving and scoring what was trained\n", output)
    assert json.loads((folder / "metrics.json").read_text())["stopped"] == "stopped by user"


def test_load_gives_the_trained_field(tmp_path):
    solution = run(tmp_path / "run")
    field = nf.load(tmp_path / "run")
    points = Burgers.domain.grid(5, 5)
    assert torch.equal(field(points), solution.field(points))
    again = nf.reopen(tmp_path / "run")
    assert again.metrics["relative_l2"] == solution.metrics["relative_l2"]
    assert again.stopped == solution.stopped


def test_a_factorized_field_comes_back(tmp_path):
    problem = Poisson(n_points=20)
    field = nf.MLP.for_problem(problem, width=6, depth=2, dtype=torch.float64)
    nf.factorize(field, nf.RandomWeightFactorization(mean=1.0, std=0.1))
    solution = nf.solve(problem, field, partial(optim.Adam, lr=1e-3), steps=3, out=tmp_path / "run")
    points = problem.domain.grid(4, 4)
    assert torch.equal(nf.load(tmp_path / "run")(points), solution.field(points))


def test_more_steps_continue_a_finished_run(tmp_path):
    problem = Poisson(n_points=20)
    options = {"optimizer": optim.GaussNewton, "log_every": 5}
    long = nf.solve(problem, SMALL, steps=20, dtype="float64", out=tmp_path / "long", **options)
    nf.solve(problem, SMALL, steps=12, dtype="float64", out=tmp_path / "short", **options)
    resumed = nf.resume(tmp_path / "short", steps=20)
    assert resumed.steps == 20
    assert resumed.metrics["relative_l2"] == long.metrics["relative_l2"]


def test_a_folder_is_not_overwritten(tmp_path):
    run(tmp_path / "run")
    with pytest.raises(InputError, match="holds a run already.*--resume"):
        run(tmp_path / "run")


def test_a_run_that_is_refused_leaves_its_folder_free(tmp_path):
    folder = tmp_path / "run"
    with pytest.raises(InputError, match=r"Adam refuses one of its options: Invalid learning rate: -1"):
        nf.solve(Poisson(), SMALL, partial(nf.optim.Adam, lr=-1), steps=1, out=folder)
    assert not folder.exists()
    run(folder)
    config = (folder / "config.json").read_bytes()
    (folder / "checkpoint.pt").unlink()  # as of a run that was killed early
    with pytest.raises(InputError, match="holds a run already"):
        run(folder)
    assert (folder / "config.json").read_bytes() == config


@pytest.mark.parametrize("name", ["checkpoint.pt", "config.json"])
@pytest.mark.parametrize("damage", ["truncated", "garbage", "empty"])
def test_damaged_files_are_worded(tmp_path, name, damage):
    run(tmp_path / "run")
    path = tmp_path / "run" / name
    content = path.read_bytes()
    path.write_bytes({"truncated": content[: len(content) // 2], "garbage": b"\x80\x02no", "empty": b""}[damage])
    with pytest.raises(InputError, match=f"{name}' is damaged"):
        nf.resume(tmp_path / "run")


def test_no_code_runs_from_a_checkpoint(tmp_path):
    marker = tmp_path / "ran"

    class Evil:
        def __reduce__(self):
            return os.mkdir, (str(marker),)

    torch.save({"system": Evil()}, tmp_path / "evil.pt")
    with pytest.raises(InputError, match="is damaged"):
        load_tensors(tmp_path / "evil.pt")
    assert not marker.exists()


def test_a_checkpoint_of_another_problem_is_worded(tmp_path):
    run(tmp_path / "run")
    nf.solve(Poisson(n_points=20), SMALL, optim.GaussNewton, steps=2, dtype="float64", out=tmp_path / "other")
    (tmp_path / "run" / "checkpoint.pt").write_bytes((tmp_path / "other" / "checkpoint.pt").read_bytes())
    with pytest.raises(InputError, match="does not belong to the checkpoint beside it"):
        nf.resume(tmp_path / "run")


def test_a_folder_without_a_run_is_worded(tmp_path):
    with pytest.raises(InputError, match="no run in"):
        nf.resume(tmp_path)


def test_a_config_that_names_other_code_is_refused(tmp_path):
    run(tmp_path / "run")
    path = tmp_path / "run" / "config.json"
    config = json.loads(path.read_text())
    config["field"] = {"call": "os:mkdir", "path": str(tmp_path / "ran")}
    path.write_text(json.dumps(config))
    with pytest.raises(InputError, match="config.json may name .*got 'os:mkdir'"):
        nf.load(tmp_path / "run")
    assert not (tmp_path / "ran").exists()


def test_a_full_disk_keeps_the_last_good_checkpoint(tmp_path, monkeypatch):
    run(tmp_path / "run", stages=STAGES[:1])
    good = (tmp_path / "run" / "checkpoint.pt").read_bytes()

    def full(*_args, **_kwargs):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("torch.save", full)
    with pytest.raises(SaveError, match="No space left.*last good checkpoint.pt is intact.*--resume") as caught:
        nf.resume(tmp_path / "run", steps=20)
    assert (tmp_path / "run" / "checkpoint.pt").read_bytes() == good
    assert caught.value.solution.steps == 20
    assert not list((tmp_path / "run").glob("*part*"))


def test_an_unwritable_folder_is_worded(tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(SaveError, match="could not write .*choose a writable --out"):
        run(tmp_path / "file" / "run")


def test_history_survives_in_csv_with_changing_columns(tmp_path):
    folder = RunFolder(tmp_path)
    folder.write_history([{"step": 0, "loss": 1.0}, {"step": 1, "loss": 0.5, "psnr": 20.0}])
    assert (tmp_path / "history.csv").read_text().splitlines() == ["step,loss,psnr", "0,1.0,", "1,0.5,20.0"]


@pytest.mark.parametrize("first", [0, 6])
def test_resume_sets_the_steps_of_the_last_stage(first, tmp_path):
    stages = (STAGES[0], Stage(optim.GaussNewton, first))
    run(tmp_path / "run", stages=stages)
    assert nf.resume(tmp_path / "run", steps=9).steps == 12 + 9
    run(tmp_path / "whole", stages=(STAGES[0], Stage(optim.GaussNewton, 9)))
    resumed, whole = state(tmp_path / "run"), state(tmp_path / "whole")
    assert identical(resumed["system"], whole["system"])


ENDS = {
    "tolerance": {"optimizer": partial(optim.Adam, lr=1e-2), "steps": 50, "tolerance": 1e9},
    "optimizer": {"field": partial(nf.RandomFeatures, width=12), "optimizer": optim.LinearLeastSquares, "steps": 50},
    "steps": {"optimizer": optim.GaussNewton, "steps": 3},
    "time": {"optimizer": optim.GaussNewton, "steps": 10**6, "time_limit": 0.3},
    "windows": {"optimizer": optim.GaussNewton, "steps": 3, "windows": 2, "field": SMALL},
}


@pytest.mark.parametrize("options", ENDS.values(), ids=list(ENDS))
def test_a_run_that_was_killed_after_its_training_ends_as_it_did(options, tmp_path):
    options = {"field": SMALL, "log_every": 4, "dtype": "float64"} | options
    first = nf.solve(Burgers(n_points=40, n_face=10), out=tmp_path / "run", **options)
    before = load_tensors(tmp_path / "run" / "field.pt")
    (tmp_path / "run" / "metrics.json").unlink()
    again = nf.resume(tmp_path / "run")
    assert (again.steps, again.stopped, len(again.history)) == (first.steps, first.stopped, len(first.history))
    assert identical(load_tensors(tmp_path / "run" / "field.pt"), before)
    assert RunFolder(tmp_path / "run").metrics()["loss"] == first.metrics["loss"]
    more = nf.resume(tmp_path / "run", steps=first.steps + 2, time_limit=100)
    assert options.get("steps", 0) == 50 or more.steps > first.steps


@pytest.mark.parametrize("name", ["checkpoint.pt", "field.pt"])
def test_a_flipped_byte_is_refused_or_changes_nothing(tmp_path, name):
    run(tmp_path / "run", stages=STAGES[:1])
    path = tmp_path / "run" / name
    good, whole = path.read_bytes(), load_tensors(path)
    dice, refused = random.Random(0), 0
    for at in dice.sample(range(len(good)), 200):
        damaged = bytearray(good)
        damaged[at] ^= 1 << dice.randrange(8)
        path.write_bytes(damaged)
        try:
            assert identical(load_tensors(path), whole)
        except InputError:
            refused += 1
    assert refused > 50


def test_a_changed_config_is_not_resumed(tmp_path):
    run(tmp_path / "run", stages=STAGES[:1])
    path = tmp_path / "run" / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text())))  # other blanks say the same
    nf.load(tmp_path / "run")
    path.write_text(path.read_text().replace('"n_points": 40', '"n_points": 41'))
    for opened in (nf.resume, nf.load, nf.reopen):
        with pytest.raises(InputError, match="does not belong to the checkpoint.*Restore it from a copy"):
            opened(tmp_path / "run")


def test_a_folder_has_one_writer(tmp_path):
    folder = tmp_path / "run"
    process = start(folder, 100000)
    deadline = time.monotonic() + 60
    while not (folder / "checkpoint.pt").exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    for other in (lambda: nf.resume(folder), lambda: run(folder), lambda: RunFolder(folder).write_json("a", {})):
        with pytest.raises(InputError, match="another process is running in folder"):
            other()
    nf.load(folder)  # whoever reads is welcome
    process.kill()
    process.communicate()
    (folder / ".checkpoint.pt.part1.pt").write_bytes(b"left by a killed process")
    nf.resume(folder, steps=1)
    assert not list(folder.glob(".*part*"))


def test_history_is_appended_and_cut_back_to_the_checkpoint(tmp_path):
    rows = [{"step": i, "loss": 1 / (i + 1), "score": math.nan if i == 3 else 1e-300 * i} for i in range(6)]
    folder = RunFolder(tmp_path)
    folder.write_history(rows[:4])
    folder.save_checkpoint({})
    with (tmp_path / "history.csv").open() as file:  # a file that is written anew would be another one
        folder.write_history(rows)
        assert len(file.readlines()) == 7
    assert identical(RunFolder(tmp_path).load_checkpoint()["history"], rows[:4])
    assert identical(folder.history(), rows)
    with (tmp_path / "history.csv").open("a") as file:
        file.write("6,0.1")  # killed in the middle of a row
    resumed = RunFolder(tmp_path)
    resumed.write_history(resumed.load_checkpoint()["history"])
    assert identical(resumed.history(), rows[:4])
    with pytest.raises(InputError, match="4 of 5 rows are left"):
        resumed.history(5)


def test_pictures_and_exports_appear_when_they_are_whole(tmp_path, monkeypatch):
    solution = run(tmp_path / "run", stages=STAGES[:1])
    seen = []

    def export(field, data, folder):
        (folder / "deep").mkdir()
        (folder / "deep" / "part.txt").write_text("half")
        seen.extend(path.name for path in (tmp_path / "run").rglob("*.txt") if ".part" not in str(path.parent))
        if not (tmp_path / "again").exists():
            raise OutOfTime

    solution.problem = solution.problem.with_(export=export)
    said = []
    assert [path.name for path in save_pictures(solution, say=said.append)] == ["solution.png"]
    assert "left out the exports" in said[0] and not list((tmp_path / "run").glob(".*.part*"))
    (tmp_path / "again").touch()
    paths = save_pictures(solution)
    assert tmp_path / "run" / "deep" / "part.txt" in paths and not seen
    assert all(path.is_file() for path in paths)


def test_what_a_killed_process_left_is_cleared(tmp_path):
    solution = run(tmp_path / "run", stages=STAGES[:1])
    left = tmp_path / "run" / ".exports.part123"
    left.mkdir()
    (left / "half.png").touch()
    save_pictures(solution)
    assert not left.exists()
