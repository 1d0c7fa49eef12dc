"""History in other tools: TensorBoard where it is installed, stand-ins for libraries that need accounts or servers."""

import sys
import types

import pytest

import nfsolve as nf
from nfsolve._core.errors import MissingExtra
from nfsolve.cli import run_cli
from nfsolve.run.loggers import LOGGERS, MLflow, TensorBoard, WeightsAndBiases
from nfsolve.run.report import reporter
from problems.pde.poisson import Poisson

ROWS = [
    {"step": 0, "loss": 2.0, "rms/a (b)": 1.0, "weight/a": float("nan")},
    {"warning": "too few points"},
    {"step": 5, "loss": 1.0},
]


@pytest.fixture
def library(monkeypatch):
    """A module that records how it is called; returned by name."""

    def install(name):
        calls = []

        class Library(types.ModuleType):
            def __getattr__(self, attribute):
                def call(*given, **options):
                    calls.append((attribute, given, options))
                    return self

                return call

        monkeypatch.setitem(sys.modules, name, Library(name))
        return calls

    return install


def told(logger):
    for row in ROWS:
        logger(row)
    logger.close()


def test_tensorboard_holds_every_finite_number(tmp_path):
    pytest.importorskip("tensorboard", reason="needs pip install 'nfsolve[tensorboard]'")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    told(TensorBoard(tmp_path))
    events = EventAccumulator(str(tmp_path)).Reload()
    assert sorted(events.Tags()["scalars"]) == ["loss", "rms/a (b)"]
    assert [(event.step, event.value) for event in events.Scalars("loss")] == [(0, 2.0), (5, 1.0)]


def test_wandb_stays_offline_unless_it_is_told_otherwise(library, tmp_path, monkeypatch):
    monkeypatch.delenv("WANDB_MODE", raising=False)
    calls = library("wandb")
    told(WeightsAndBiases(tmp_path / "mine"))
    first, *logged, last = calls
    assert first[0] == "init" and first[2]["mode"] == "offline" and first[2]["name"] == "mine"
    assert [(given, options["step"]) for _, given, options in logged] == [
        (({"loss": 2.0, "rms/a (b)": 1.0},), 0),
        (({"loss": 1.0},), 5),
    ]
    assert last[0] == "finish"
    monkeypatch.setenv("WANDB_MODE", "online")
    told(WeightsAndBiases(tmp_path / "mine"))
    assert [options["mode"] for name, _, options in calls if name == "init"] == ["offline", "online"]


def test_mlflow_writes_into_the_run_folder_unless_a_store_is_named(library, tmp_path, monkeypatch):
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    calls = library("mlflow")
    told(MLflow(tmp_path / "mine"))
    assert calls[0][0] == "set_tracking_uri" and str(tmp_path / "mine") in calls[0][1][0]
    assert ("log_metrics", ({"loss": 2.0, "rms/a _b_": 1.0},), {"step": 0}) in calls
    assert calls[-1][0] == "end_run"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://localhost:1")
    calls.clear()
    told(MLflow(tmp_path / "mine"))
    assert "set_tracking_uri" not in [name for name, *_ in calls]


@pytest.mark.parametrize("name", LOGGERS)
def test_a_missing_library_is_named_with_its_extra(name, monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(MissingExtra, match=rf"logging to {name} needs {name}.*nfsolve\[{name}\]"):
        LOGGERS[name](tmp_path / "a")
    assert not (tmp_path / "a").exists()


def test_a_run_reports_to_several_and_one_of_them_may_end_it():
    first, second = [], []

    def enough(row):
        second.append(row)
        return row["step"] < 2

    solution = nf.solve(Poisson(), steps=9, log_every=1, report=(first.append, enough, None))
    assert solution.steps == 2 and "stopped by report" in solution.stopped
    assert first == second and len(first) == 3


def test_lines_beside_a_logger_still_show_notes(capsys):
    from nfsolve.run.report import note

    rows = []
    note(reporter(("lines", rows.append), 1, None), "run folder: here")
    assert "run folder: here" in capsys.readouterr().err
    assert rows == []


def test_the_command_line_logs_and_records_nothing_of_it(library, tmp_path, capsys):
    calls = library("wandb")
    out = tmp_path / "run"
    words = ["run", "poisson", "--steps", "2", "--log", "csv,wandb", "--out", str(out)]
    assert run_cli(words) == 0
    assert f"the history goes to {out / 'history.csv'} and wandb" in capsys.readouterr().err
    steps = [options["step"] for name, _, options in calls if name == "log"]
    assert steps == [int(row["step"]) for row in nf.RunFolder(out).history()]
    assert "log" not in nf.RunFolder(out).config()
    assert run_cli(["run", "--resume", str(out), "--steps", "4", "--log=wandb"]) == 0
    assert [options["step"] for name, _, options in calls if name == "log"][-1] == 4


@pytest.mark.parametrize(("words", "said"), [(["--log"], "--log needs a name"), (["--log", "wand"], "wandb")])
def test_a_wrong_logger_is_said(words, said, capsys):
    assert run_cli(["run", "poisson", *words]) == 2
    assert said in capsys.readouterr().err


@pytest.mark.filterwarnings("default")  # of the library
def test_wandb_itself_writes_without_a_network(tmp_path, monkeypatch):
    pytest.importorskip("wandb", reason="needs pip install 'nfsolve[wandb]'")
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_SILENT", "true")
    told(WeightsAndBiases(tmp_path / "run"))
    written = [path for path in (tmp_path / "run" / "wandb").glob("offline-run-*/*.wandb") if path.stat().st_size]
    assert len(written) == 1


@pytest.mark.filterwarnings("default")  # of the library
def test_mlflow_itself_keeps_every_number_in_the_run_folder(tmp_path, monkeypatch):
    mlflow = pytest.importorskip("mlflow", reason="needs pip install 'nfsolve[mlflow]'")
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    told(MLflow(tmp_path / "run"))
    client = mlflow.MlflowClient(f"sqlite:///{tmp_path / 'run' / 'mlflow.db'}")
    experiment = client.get_experiment_by_name("nfsolve")
    (run,) = client.search_runs([experiment.experiment_id])
    assert run.info.run_name == "run"
    found = client.get_metric_history(run.info.run_id, "loss")
    assert sorted((metric.step, metric.value) for metric in found) == [(0, 2.0), (5, 1.0)]
