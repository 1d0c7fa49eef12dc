import json
import shutil
import subprocess
from html.parser import HTMLParser

import pytest

from nfsolve.cli import run_cli
from nfsolve.plot.page import verdict

METRICS = {"relative_l2": 2e-4, "rms/wave": 1e-5, "heldout/wave": 3e-3, "stopped": "step limit: 9 steps done"}
PIXEL = bytes.fromhex(
    "89504e470d0a1a0a0000000d49484452000000010000000108060000001f15c4890000000d49444154789c6360000002000001e221bc33"
    "0000000049454e44ae426082"
)


class Page(HTMLParser):
    VOID = ("meta", "img", "br", "link")

    def __init__(self):
        super().__init__()
        self.open, self.sources, self.tags = [], [], []

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.sources += [value for name, value in attrs if name in ("src", "href")]
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def held(text):
    """Return the data that a page holds for its program."""
    return json.loads(text.partition("id='data'>")[2].partition("</script>")[0])


@pytest.fixture
def run(tmp_path):
    config = {"problem": {"what": "problems.pde.wave:Wave", "parameters": {"c": "<1 & 2>"}}, "optimizer": "x:SOAP"}
    (tmp_path / "config.json").write_text(json.dumps(config))
    (tmp_path / "environment.json").write_text('{"torch": "2.13"}')
    (tmp_path / "metrics.json").write_text(json.dumps(METRICS))
    (tmp_path / "history.csv").write_text("step,seconds,loss,rms/wave,relative_l2\n0,0,1.0,0.5,1.0\n9,1,0.1,0.01,\n")
    (tmp_path / "solution.png").write_bytes(PIXEL)
    return tmp_path


def test_a_report_is_one_file_with_all_that_is_known(run, tmp_path, capsys):
    assert run_cli(["report", str(run), "--out", str(tmp_path / "page.html")]) == 0
    text = (tmp_path / "page.html").read_text()
    page = Page()
    page.feed(text)
    assert not page.open
    assert all(source.startswith(("data:", "#")) for source in page.sources)
    assert {"img", "script", "table"} <= set(page.tags)
    data = held(text)
    assert [row["loss"] for row in data["histories"][0]["runs"][0]["rows"]] == [1.0, 0.1]
    for word in ("<h1>Wave</h1>", "accurate", "residual wave", "&lt;1 &amp; 2&gt;", "2.13", "vyas2025soap"):
        assert word in text
    assert run_cli(["report", str(run)]) == 0 and (run / "report.html").read_text() == text


@pytest.mark.parametrize("missing", ["metrics.json", "history.csv", "environment.json", "solution.png"])
def test_what_a_run_has_not_written_is_left_out(missing, run, capsys):
    (run / missing).unlink()
    assert run_cli(["report", str(run)]) == 0
    assert ("has not ended" in (run / "report.html").read_text()) == (missing == "metrics.json")


@pytest.mark.parametrize(
    ("metrics", "words"),
    [
        ({}, "has not ended"),
        ({"relative_l2": 1e-9}, "very accurate"),
        ({"error_estimate": 1e-2}, "rough: its relative L2 error, estimated,"),
        ({"relative_l2": 0.7}, "not yet a solution"),
        ({"psnr_heldout": 30.0}, "The PSNR on held-out data is 30 dB."),
        (
            {"psnr": 30.0, "psnr_tv": 31.0, "seconds_tv": 2.0, "psnr_heldout_x": 1.0},
            "The best of the classical methods, total variation, reaches 31 dB.",
        ),
        ({"loss": 1.0}, "nothing to compare"),
        ({"relative_l2": "undefined"}, "nothing to compare"),
        ({"stopped": "diverged: the loss grew"}, "cannot be used"),
        (METRICS, "--adaptive rad"),
        (METRICS, "--resume DIR --steps N"),
    ],
)
def test_the_verdict_over_ends_of_runs(metrics, words):
    assert words in " ".join(verdict(metrics, "DIR"))


def test_data_cannot_be_more_points():
    said = " ".join(verdict(METRICS, "DIR", drawn=False))
    assert "Try a smoother or smaller field." in said
    assert "--n-points" not in said


def test_no_more_steps_are_advised_where_rounding_is_all_that_is_left():
    found = {"relative_l2": 1e-14, "stopped": "time limit: 1 s"}
    assert "had not converged" not in " ".join(verdict(found, "DIR"))
    assert "had not converged" in " ".join(verdict(found | {"relative_l2": 1e-8}, "DIR"))


@pytest.mark.parametrize("words", [[], ["a", "b"], ["--out", "x"]])
def test_wrong_words_are_refused(words, capsys):
    assert run_cli(["report", *words]) == 2
    assert "report needs one run folder" in capsys.readouterr().err
    assert run_cli(["report", "nowhere"]) == 2


@pytest.fixture(scope="module")
def solved(tmp_path_factory):
    """Make the pages of two runs, and of both together."""
    folder = tmp_path_factory.mktemp("pages")
    options = ["--n-points", "60", "--steps", "2", "--device", "cpu"]
    for name, more in {"a": [], "b": ["--nu", "0.1"]}.items():
        assert run_cli(["run", "burgers", *options, *more, "--out", str(folder / name)]) == 0
    assert run_cli(["report", str(folder / "a")]) == 0
    assert run_cli(["compare", str(folder / "a"), str(folder / "b"), "--out", str(folder / "both.html")]) == 0
    return folder


def test_the_page_of_a_run_holds_its_solution_for_maps(solved):
    data = held((solved / "a" / "report.html").read_text())["explorer"]
    assert [axis["name"] for axis in data["axes"]] == ["t", "x"]
    assert [q["name"] for q in data["quantities"]] == ["u", "reference u", "|u - reference|", "|residual momentum|"]


def test_a_page_of_several_runs_says_which_is_best_and_in_what_they_differ(solved):
    text = (solved / "both.html").read_text()
    assert "is best: " in text and "<td>problem.parameters.nu</td><td>0.003183</td><td>0.1</td>" in text
    assert "not of the same problem with the same parameters" in text
    assert [run["name"] for run in held(text)["histories"][0]["runs"]] == ["a", "b"]


def test_a_problem_that_may_not_be_imported_leaves_the_maps_out_and_says_so(run, capsys):
    assert run_cli(["report", str(run)]) == 0
    assert "Maps with sliders are left out:" in (run / "report.html").read_text()


@pytest.mark.parametrize("words", [["--out"], ["--out", "x.txt"]])
def test_a_page_of_several_runs_needs_a_name(words, solved, capsys):
    assert run_cli(["compare", str(solved / "a"), *words]) == 2
    assert "--out needs an HTML file" in capsys.readouterr().err


BROWSER = next(
    (path for name in ("chromium", "chromium-browser", "google-chrome") if (path := shutil.which(name))), None
)


@pytest.mark.skipif(BROWSER is None, reason="needs Chromium")
@pytest.mark.parametrize("name", ["a/report.html", "both.html"])
def test_a_browser_draws_the_page_from_a_file_and_has_nothing_to_complain_about(name, solved, tmp_path):
    options = ["--headless", "--no-sandbox", "--disable-gpu", "--enable-logging=stderr", f"--user-data-dir={tmp_path}"]
    command = [str(BROWSER), *options, "--virtual-time-budget=3000", "--dump-dom", (solved / name).as_uri()]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert "CONSOLE" not in done.stderr, done.stderr
    drawn = done.stdout.partition("<script")[0]
    assert drawn.count("<path") >= 2 and 'type="button"' in drawn
    assert ("<canvas" in drawn and 'type="range"' in drawn) == name.startswith("a/")
