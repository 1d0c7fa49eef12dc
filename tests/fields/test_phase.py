import math

import numpy as np
import torch

from nfsolve.fields.phase import CLOSED, GRID, WAVES, Part, aligned, as_table, carried, frame_of, from_table, led, moved
from nfsolve.fields.start import Start, nearest
from nfsolve.fields.tensor_basis import tensor_basis

GENERATOR = torch.Generator()


def drawn(n, modes=3, seed=0):
    """Coefficients of functions of period 1 with short waves that are small."""
    decay = 4.0 ** -torch.arange(modes)
    return torch.randn(n, 2, modes, dtype=torch.float64, generator=GENERATOR.manual_seed(seed)) * decay


def at(c, x):
    """Values ``(n, m)`` at places, the same ``(m,)`` or each function its own ``(n, m)``."""
    k = torch.arange(1, c.shape[2] + 1, dtype=torch.float64)[:, None]
    phase = 2 * math.pi * k * x[..., None, :]
    return (c[:, 0, :, None] * phase.cos() + c[:, 1, :, None] * phase.sin()).sum(1)


def test_a_move_is_that_of_the_function():
    c, shift, x = drawn(4), torch.tensor([0.0, 0.1, -0.37, 2.4]).double(), torch.arange(17).double() / 17
    wanted = at(c, x + shift[:, None])
    torch.testing.assert_close(moved(at(c, x), Part(0, 1, 17, 1, GRID), shift), wanted)
    ends = torch.linspace(0, 1, 18, dtype=torch.float64)
    torch.testing.assert_close(moved(at(c, ends), Part(0, 1, 18, 1, CLOSED), shift), at(c, ends + shift[:, None]))
    other = torch.ones(4, 2).double()  # columns before and behind stay
    rows = torch.cat([other, at(c, x), 3 * other], 1)
    torch.testing.assert_close(moved(rows, Part(2, 1, 17, 1, GRID), shift), torch.cat([other, wanted, 3 * other], 1))
    basis = tensor_basis(x[:, None], [(0, 1, True)], [9])
    waves = torch.linalg.lstsq(basis, at(c, x).T).solution.T
    torch.testing.assert_close(moved(waves, Part(0, 1, 9, 1, WAVES), shift) @ basis.T, wanted)


def test_functions_that_were_moved_are_the_same_when_aligned():
    c, x = drawn(5), torch.arange(16).double() / 16
    second = at(drawn(5, seed=1), x)
    frame = frame_of((False, True), ((1, 16), (1, 16)), (), (3, 16), 2)
    rows = torch.cat([at(c, x), second], 1)
    one, shifts = aligned(frame, rows)
    shift = torch.full((5,), 0.23).double()
    for part in frame[0].inputs:
        rows = moved(rows, part, shift)
    other, moves = aligned(frame, rows)
    torch.testing.assert_close(one, other)
    solution = torch.randn(5, 3 * 16 * 2, dtype=torch.float64, generator=GENERATOR.manual_seed(2))
    solution = moved(solution, frame[0].output, torch.zeros(5).double())  # the shortest wave has no phase
    torch.testing.assert_close(carried(frame, carried(frame, one_wave(solution), shifts), -shifts), one_wave(solution))
    torch.testing.assert_close(torch.remainder(shifts - moves, 1.0), torch.full((5, 1), 0.23).double())
    assert from_table(as_table(frame)) == frame


def one_wave(solution):
    """Solutions ``(n, 3 16 2)`` without waves that 16 points do not resolve."""
    table = torch.fft.rfft(solution.view(-1, 3, 16, 2), dim=2)
    table[:, :, 8] = 0
    return torch.fft.irfft(table, 16, dim=2).flatten(1)


def test_the_function_with_the_largest_wave_leads():
    x = torch.arange(16).double() / 16
    first, second = torch.cos(4 * math.pi * x).expand(6, -1), at(drawn(6), x)
    frame = led(frame_of((True,), ((16,), (16,)), (), (16,), 1), torch.cat([first, second], 1))
    assert [part.first for part in frame[0].inputs] == [16, 0]
    assert frame_of((True,), ((1,),), (), (16,), 1) == ()  # nothing varies along it


def test_a_map_that_moves_with_its_functions_is_found_with_fewer_of_them():
    x = torch.arange(24).double() / 24
    c = drawn(260, modes=2)

    def square(rows):
        slope = torch.fft.irfft(torch.fft.rfft(rows) * 2j * math.pi * torch.arange(13), 24)
        return torch.tanh(2 * rows) + 0.05 * slope * rows

    f = at(c, x)
    frame = frame_of((True,), ((24,),), (), (24,), 1)
    plain, framed = (nearest(f[:120], square(f[:120]), 0.5, frame=g) for g in ((), frame))
    assert framed.frame and framed.error < 0.2 * plain.error
    start = Start(framed)
    gaps = [float((Start(found)(f[120:]) - square(f[120:])).norm()) for found in (plain, framed)]
    assert gaps[1] < 0.2 * gaps[0]
    again = Start()
    again.load_state_dict(start.state_dict())
    torch.testing.assert_close(again(f[120:]), start(f[120:]))
    assert "moved until their longest wave has phase zero" in start.remark()
    place = nearest(f[:120], square(f[:120]) * (1 + x), 0.5, frame=frame)  # which names the place
    assert place is None or not place.frame
    assert np.isfinite(plain.error)
