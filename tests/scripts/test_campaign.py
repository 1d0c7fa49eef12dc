"""Campaigns that are killed go on where they were, and give the rows of one that was not."""

import shutil
from argparse import Namespace
from concurrent.futures import ThreadPoolExecutor

import pytest
from filelock import FileLock

from nfsolve.run import loop
from nfsolve.run.folder import CHECKPOINT
from nfsolve.studies.comparison import Comparison, Settings, jobs
from problems.signals.image import ImageFit
from scripts import campaign, reproducing
from scripts.campaign import Table
from scripts.measuring import read_rows
from scripts.reproducing import complete, method, parser

OPTIONS = ["--protocol", "ws", "--size", "24", "--field.width", "8", "--field.depth", "2"]


def tables(said):
    nets = [method(name, "--field", name, rates=(1e-3, 1e-2)) for name in ("siren", "ws")]
    fixed, tuned = Settings(budgets=("steps",), steps=6), Settings(budgets=("steps",), steps=6, tune=("lr",))
    return [
        Table("first", "At one rate", "image", nets, fixed, OPTIONS, {"ws": "42 dB"}, f"At {said.scale} of the size."),
        Table("second", "At tuned rates", "image", nets[1:], tuned, OPTIONS),
        Table("third", "Of a file", "image", nets, fixed, OPTIONS, needs=("nowhere.png",)),
    ]


@pytest.fixture
def go(tmp_path, monkeypatch):
    """Return a function that does the campaign in this process, in a folder of its own."""
    monkeypatch.setattr(jobs, "_PROCESS", {"prepared", "warm"})
    monkeypatch.setattr(Comparison, "save", lambda self, folder: None)  # figures, which take longer than the runs
    made = parser("A campaign.")
    made.add_argument("--full", action="store_true")
    made.add_argument("--hours", type=float)
    made.set_defaults(scale=None)

    def do(folder, *words, inner=None):
        monkeypatch.setattr(campaign, "FOLDER", tmp_path / folder)
        monkeypatch.setattr(campaign, "WORK", tmp_path / folder / "comparisons")
        said = complete(made.parse_args(["--full", "--seeds", "2", *words]))
        threads = inner or ThreadPoolExecutor(1)
        campaign.campaign("tiny", "# Tiny", made, lambda found: tables(complete(found)), said, threads)
        return tmp_path / folder

    return do


def scores(folder):
    """What rows say apart from clocks."""
    return {
        tuple(str(row[name]) for name in campaign.KEY): (row["metrics"]["psnr"], [p["step"] for p in row["curve"]])
        for row in read_rows(folder / "tiny_full.json")
    }


class Killed(BaseException):
    """What a kill looks like from inside: nothing in between can catch it."""


class Mortal(ThreadPoolExecutor):
    """Does so many runs and dies."""

    def __init__(self, runs):
        super().__init__(1)
        self.left = runs

    def submit(self, fn, /, *args, **kwargs):
        self.left -= 1
        if self.left < 0:
            raise Killed
        return super().submit(fn, *args, **kwargs)


def test_a_killed_campaign_goes_on_from_its_rows_alone(go, capsys):
    whole = scores(go("whole"))
    assert len(whole) == 4 + 3 + 2  # reported; pilots of two rates and of one beyond; reported
    with pytest.raises(Killed):
        go("killed", inner=Mortal(3))
    folder = go("killed", "--only", "first", "--hours", "0")
    text = (folder / "tiny_full.md").read_text()
    assert len(scores(folder)) == 3 and "2 of 4 runs: **a partial table**" in text and "42 dB" in text
    assert "At 1.0 of the size." in text and "--full --scale 1.0 --only first" in text
    shutil.rmtree(folder / "comparisons")  # as in a fresh clone
    capsys.readouterr()
    assert scores(go("killed")) == whole
    said = capsys.readouterr().out
    assert "third: left out, for $NFSOLVE_DATA has no nowhere.png" in said
    assert said.count(" 6 steps: psnr") == len(whole) - 3  # what had a row was not done again
    assert "**a partial table**" not in (folder / "tiny_full.md").read_text()


def test_a_run_that_is_killed_in_the_middle_goes_on_from_its_checkpoint(go, monkeypatch):
    whole = scores(go("whole", "--only", "first", "--seeds", "1"))
    monkeypatch.setattr(loop, "CHECKPOINT_SECONDS", 0.0)
    calls, resumed, residuals, resume = [], [], ImageFit.residuals, jobs.resume

    def counted(self, field, batch):
        calls.append(1)
        if len(calls) == 30:  # in the middle of the second run
            raise Killed
        return residuals(self, field, batch)

    def watched(folder, **options):
        resumed.append((folder / CHECKPOINT).is_file())
        return resume(folder, **options)

    monkeypatch.setattr(ImageFit, "residuals", counted)
    monkeypatch.setattr(jobs, "resume", watched)
    with pytest.raises(Killed):
        go("killed", "--only", "first", "--seeds", "1")
    assert not resumed
    assert scores(go("killed", "--only", "first", "--seeds", "1")) == whole and len(whole) == 2
    assert resumed == [True]


def test_what_failed_is_a_row_and_what_has_no_row_was_not_done(tmp_path):
    job = jobs.Job(tables(Namespace(scale=1))[0].methods[0].method("image", ImageFit, OPTIONS), (), 0, 6)
    failed = jobs.Outcome({}, [], "it does not fit")
    (rowless := tmp_path / "runs" / "siren" / "seed1").mkdir(parents=True)  # killed before its row was written
    (rowless / jobs.ERROR).write_text("it ended")
    campaign.restore([campaign.row_of(job, failed, tmp_path)], tmp_path)
    assert jobs.read(job.folder(tmp_path)) == failed
    assert not rowless.exists()


def test_only_what_decides_the_runs_tells_rows_apart_and_one_run_at_a_time_is_done(go):
    made = parser("")
    made.add_argument("--steps", type=int)
    said = made.parse_args(["--seeds", "7", "--only", "a", "--steps", "5", "--scale", "0.5"])
    assert campaign.words_of(made, said) == "--scale 0.5 --steps 5"
    with pytest.raises(SystemExit, match="one run at a time, got --processes 2"):
        go("two", "--processes", "2")


def test_a_second_process_is_refused(go, tmp_path):
    (tmp_path / "busy/comparisons/tiny_full").mkdir(parents=True)
    with (
        FileLock(tmp_path / "busy/comparisons/tiny_full/lock"),
        pytest.raises(SystemExit, match="another process does the campaign of tiny"),
    ):
        go("busy")


def test_the_scale_is_the_papers_with_full_and_a_quarter_without():
    assert [complete(Namespace(scale=None, full=full)).scale for full in (True, False)] == [1.0, 0.25]
    assert complete(Namespace(scale=0.5, full=True)).scale == 0.5
    assert reproducing.QUARTER == 0.25
