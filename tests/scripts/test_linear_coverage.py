"""The prior of the weights and the coverage of intervals, where the exact posterior is known."""

from scripts import linear_coverage


def test_a_prior_by_the_evidence_is_nearer_to_the_exact_posterior(monkeypatch, capsys):
    monkeypatch.setattr(linear_coverage, "TRUTHS", 40)
    linear_coverage.main()
    lines = [line.rsplit("  ", 1) for line in capsys.readouterr().out.splitlines()]
    held = {name.strip(): float(share.split("%")[0]) for name, share in lines}
    assert 91 < held["exact posterior"] < 97
    for fit in ("one step", "seven steps"):
        narrow, wide = (held[f"{fit}, prior by {rule}"] for rule in ("their size", "the evidence"))
        assert narrow + 4 < wide < 97
