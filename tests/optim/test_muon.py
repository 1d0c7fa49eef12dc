import pytest
import torch
from torch import nn

from nfsolve._core.errors import InputError
from nfsolve.optim import Muon


def network() -> list[nn.Parameter]:
    torch.manual_seed(0)
    return list(nn.Sequential(nn.Linear(2, 5), nn.Linear(5, 5), nn.Linear(5, 5), nn.Linear(5, 3)).parameters())


def test_hidden_matrices_get_muon_and_the_rest_adam():
    ours, theirs = network(), network()
    optimizer = Muon(ours, lr=0.01)
    hidden = [theirs[2], theirs[4]]
    muon = torch.optim.Muon(hidden, lr=0.01, weight_decay=0.0, adjust_lr_fn="match_rms_adamw")
    adam = torch.optim.Adam([p for i, p in enumerate(theirs) if i not in (2, 4)], lr=0.01)
    for k in range(4):
        for a, b in zip(ours, theirs, strict=True):
            a.grad = torch.randn(a.shape, generator=torch.Generator().manual_seed(k))
            b.grad = a.grad.clone()
        optimizer.step()
        muon.step()
        adam.step()
    assert all(torch.equal(a, b) for a, b in zip(ours, theirs, strict=True))


def test_a_schedule_reaches_both_parts_before_and_after_loading():
    optimizer = Muon(network())
    for _ in range(2):
        for group in optimizer.param_groups:
            group["lr"] = 0.5
        assert [part.param_groups[0]["lr"] for part in optimizer._parts] == [0.5, 0.5]
        again = Muon(network(), lr=0.1)
        again.load_state_dict(optimizer.state_dict())
        assert [group["lr"] for group in again.param_groups] == [0.5, 0.5]
        optimizer = again


def test_mistakes_are_worded():
    with pytest.raises(InputError, match="at least 3 real weight matrices.*Use Adam or SOAP"):
        Muon(network()[:4])
    with pytest.raises(InputError, match="lr >= 0"):
        Muon(network(), lr=-1.0)
