import json
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
    VOID = ("meta", "img", "br")

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
    assert all(source.startswith(("data:", "#")) for source in page.sources) and "<script" not in text
    assert {"img", "svg", "table"} <= set(page.tags)
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
        ({"psnr_heldout": 30.0}, "30 dB on what was held out"),
        ({"loss": 1.0}, "nothing to compare"),
        ({"relative_l2": "undefined"}, "nothing to compare"),
        ({"stopped": "diverged: the loss grew"}, "cannot be used"),
        (METRICS, "--adaptive rad"),
        (METRICS, "--resume DIR --steps N"),
    ],
)
def test_the_verdict_over_ends_of_runs(metrics, words):
    assert words in " ".join(verdict(metrics, "DIR"))


@pytest.mark.parametrize("words", [[], ["a", "b"], ["--out", "x"]])
def test_wrong_words_are_refused(words, capsys):
    assert run_cli(["report", *words]) == 2
    assert "report needs one run folder" in capsys.readouterr().err
    assert run_cli(["report", "nowhere"]) == 2
