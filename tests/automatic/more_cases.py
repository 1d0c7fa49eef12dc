"""More problems that no recipe was made for: written before windows of time found their own features.

Oscillations, flows, waves, fronts and peaks with exact solutions, or ones that SciPy certifies, as a user would write
them.
"""

import math
from dataclasses import dataclass

import torch
from scipy.special import jn_zeros

from nfsolve import PDE, Box, Disk, boundary, face, interior, periodic
from tests.automatic.trajectories import at

PI = math.pi


@dataclass
class Stiff(PDE):
    domain = Box(t=(0, 2))
    unknowns = "u"

    @interior
    def relaxes(self, u, u_t, t):
        return u_t + 1000 * (u - torch.cos(t)) + torch.sin(t)

    @face(t=0)
    def start(self, u):
        return u - 1

    def exact(self, t):
        return torch.cos(t)


@dataclass
class Duffing(PDE):
    domain = Box(t=(0, 20))
    unknowns = "x"

    @interior
    def motion(self, x, x_t, x_tt, t):
        return x_tt + 0.3 * x_t - x + x**3 - 0.5 * torch.cos(1.2 * t)

    @face(t=0)
    def start(self, x, x_t):
        return torch.cat([x - 1, x_t], -1)

    def exact(self, t):
        return at("duffing", 20, (1.0, 0.0), t, 1)


@dataclass
class Epidemic(PDE):
    domain = Box(t=(0, 100))
    unknowns = "s i r"

    @interior
    def spreads(self, s, i, s_t, i_t, r_t):
        return torch.cat([s_t + 0.4 * s * i, i_t - 0.4 * s * i + 0.1 * i, r_t - 0.1 * i], -1)

    @face(t=0)
    def start(self, s, i, r):
        return torch.cat([s - 0.99, i - 0.01, r], -1)

    def exact(self, t):
        return tuple(at("epidemic", 100, (0.99, 0.01, 0.0), t, 3).split(1, -1))


@dataclass
class Neuron(PDE):
    domain = Box(t=(0, 60))
    unknowns = "v w"

    @interior
    def fires(self, v, w, v_t, w_t):
        return torch.cat([v_t - v + v**3 / 3 + w - 0.5, w_t - 0.08 * (v + 0.7 - 0.8 * w)], -1)

    @face(t=0)
    def start(self, v, w):
        return torch.cat([v, w], -1)

    def exact(self, t):
        return tuple(at("neuron", 60, (0.0, 0.0), t, 2).split(1, -1))


@dataclass
class LongWave(PDE):
    domain = Box(t=(0, 6), x=(0, 1))
    unknowns = "u"

    @interior
    def waves(self, u_tt, u_xx):
        return u_tt - u_xx

    @face(t=0)
    def start(self, u, u_t, x):
        return torch.cat([u - torch.sin(3 * PI * x), u_t], -1)

    @face(x=(0, 1))
    def ends(self, u):
        return u

    def exact(self, t, x):
        return torch.sin(3 * PI * x) * torch.cos(3 * PI * t)


@dataclass
class Drum(PDE):
    domain = Box(t=(0, 1)) * Disk(x=0, y=0, radius=1)
    unknowns = "u"
    tone = float(jn_zeros(0, 2)[1])

    @interior
    def waves(self, u_tt, u_xx, u_yy):
        return u_tt - u_xx - u_yy

    @boundary
    def rim(self, u):
        return u

    @face(t=0)
    def start(self, u, u_t, t, x, y):
        return torch.cat([u - self.exact(t, x, y), u_t], -1)

    def exact(self, t, x, y):
        quarter, term, total = self.tone**2 * (x**2 + y**2) / 4, 1.0, 0.0
        for k in range(1, 25):  # the series of the Bessel function J0
            total, term = total + term, -term * quarter / k**2
        return total * torch.cos(self.tone * t)


@dataclass
class TaylorGreen(PDE):
    domain = Box(t=(0, 1), x=periodic(0, 2 * PI), y=periodic(0, 2 * PI))
    unknowns = "u v p"

    @interior
    def along_x(self, u, v, u_t, u_x, u_y, p_x, u_xx, u_yy):
        return u_t + u * u_x + v * u_y + p_x - 0.05 * (u_xx + u_yy)

    @interior
    def along_y(self, u, v, v_t, v_x, v_y, p_y, v_xx, v_yy):
        return v_t + u * v_x + v * v_y + p_y - 0.05 * (v_xx + v_yy)

    @interior
    def mass(self, u_x, v_y):
        return u_x + v_y

    @face(t=0)
    def start(self, u, v, x, y):
        return torch.cat([u - torch.sin(x) * torch.cos(y), v + torch.cos(x) * torch.sin(y)], -1)

    @face(x=0, y=0)
    def pinned(self, p, t):
        return p - 0.5 * torch.exp(-0.2 * t)

    def exact(self, t, x, y):
        e = torch.exp(-0.1 * t)
        u, v = torch.sin(x) * torch.cos(y) * e, -torch.cos(x) * torch.sin(y) * e
        return u, v, (torch.cos(2 * x) + torch.cos(2 * y)) / 4 * e**2


@dataclass
class Brusselator(PDE):
    domain = Box(t=(0, 3), x=periodic(0, 2 * PI))
    unknowns = "u v"

    @interior
    def activator(self, u, v, u_t, u_xx, t, x):
        a, b = self.exact(t, x)
        source = (0.3 * torch.cos(t) + 0.03 * torch.sin(t)) * torch.cos(x) + 4 * a - a**2 * b
        return u_t - 0.1 * u_xx + 4 * u - u**2 * v - source

    @interior
    def inhibitor(self, u, v, v_t, v_xx, t, x):
        a, b = self.exact(t, x)
        source = (0.025 * torch.cos(t) - 0.5 * torch.sin(t)) * torch.sin(x) - 3 * a + a**2 * b
        return v_t - 0.05 * v_xx - 3 * u + u**2 * v - source

    @face(t=0)
    def start(self, u, v, t, x):
        return torch.cat([u, v], -1) - torch.cat(self.exact(t, x), -1)

    def exact(self, t, x):
        return 1 + 0.3 * torch.sin(t) * torch.cos(x), 3 + 0.5 * torch.cos(t) * torch.sin(x)


@dataclass
class Maxwell(PDE):
    domain = Box(t=(0, 1.5), x=(0, 1), y=(0, 1))
    unknowns = "e hx hy"

    @interior
    def faraday(self, hx_t, hy_t, e_x, e_y):
        return torch.cat([hx_t + e_y, hy_t - e_x], -1)

    @interior
    def ampere(self, e_t, hy_x, hx_y):
        return e_t - hy_x + hx_y

    @face(t=0)
    def start(self, e, hx, hy, x, y):
        return torch.cat([e - torch.sin(PI * x) * torch.sin(2 * PI * y), hx, hy], -1)

    @face(x=(0, 1), y=(0, 1))
    def metal(self, e):
        return e

    def exact(self, t, x, y):
        w = PI * math.sqrt(5)
        e = torch.sin(PI * x) * torch.sin(2 * PI * y) * torch.cos(w * t)
        hx = -2 * PI / w * torch.sin(PI * x) * torch.cos(2 * PI * y) * torch.sin(w * t)
        return e, hx, PI / w * torch.cos(PI * x) * torch.sin(2 * PI * y) * torch.sin(w * t)


@dataclass
class Soliton(PDE):
    domain = Box(t=(0, 1), x=(-10, 10))
    unknowns = "u"

    @interior
    def waves(self, u, u_t, u_x, u_xxx):
        return u_t + 6 * u * u_x + u_xxx

    @face(t=0)
    def start(self, u, t, x):
        return u - self.exact(t, x)

    @face(x=(-10, 10))
    def ends(self, u, t, x):
        return u - self.exact(t, x)

    @face(x=10)
    def outflow(self, u_x, t):
        return u_x + 4 * torch.tanh(12 - 4 * t) / torch.cosh(12 - 4 * t) ** 2

    def exact(self, t, x):
        return 2 / torch.cosh(x - 4 * t + 2) ** 2


@dataclass
class Breather(PDE):
    domain = Box(t=(0, 10), x=(-15, 15))
    unknowns = "u"

    @interior
    def waves(self, u, u_tt, u_xx):
        return u_tt - u_xx + torch.sin(u)

    @face(t=0)
    def start(self, u, u_t, x):
        return torch.cat([u, u_t - 2.4 / torch.cosh(0.6 * x)], -1)

    @face(x=(-15, 15))
    def ends(self, u, t, x):
        return u - self.exact(t, x)

    def exact(self, t, x):
        return 4 * torch.atan(0.75 * torch.sin(0.8 * t) / torch.cosh(0.6 * x))


@dataclass
class RotatingPeak(PDE):
    domain = Box(t=(0, 1), x=(-1, 1), y=(-1, 1))
    unknowns = "c"

    @interior
    def transport(self, c_t, c_x, c_y, c_xx, c_yy, x, y):
        return c_t - 2 * y * c_x + 2 * x * c_y - 0.01 * (c_xx + c_yy)

    @face(t=0)
    def start(self, c, t, x, y):
        return c - self.exact(t, x, y)

    @face(x=(-1, 1), y=(-1, 1))
    def walls(self, c, t, x, y):
        return c - self.exact(t, x, y)

    def exact(self, t, x, y):
        a, b, width = x - 0.4 * torch.cos(2 * t), y - 0.4 * torch.sin(2 * t), 1 + t
        return torch.exp(-25 * (a**2 + b**2) / width) / width


@dataclass
class HotCube(PDE):
    domain = Box(t=(0, 1), x=(-1, 1), y=(-1, 1), z=(-1, 1))
    unknowns = "u"

    @interior
    def heat(self, u, u_t, lap_u, t, x, y, z):
        r, e = x**2 + y**2 + z**2, self.exact(t, x, y, z)
        return u_t - lap_u + u**3 + torch.sin(t) * torch.exp(-r) + e * (4 * r - 6) - e**3

    @face(t=0)
    def start(self, u, t, x, y, z):
        return u - self.exact(t, x, y, z)

    @face(x=(-1, 1), y=(-1, 1), z=(-1, 1))
    def walls(self, u, t, x, y, z):
        return u - self.exact(t, x, y, z)

    def exact(self, t, x, y, z):
        return torch.cos(t) * torch.exp(-(x**2 + y**2 + z**2))


@dataclass
class Clamped(PDE):
    domain = Disk(x=0, y=0, radius=1)
    unknowns = "u"

    @interior
    def plate(self, u_xxxx, u_xxyy, u_yyyy):
        return u_xxxx + 2 * u_xxyy + u_yyyy - 64

    @boundary
    def rim(self, u, u_x, u_y, n_x, n_y):
        return torch.cat([u, n_x * u_x + n_y * u_y], -1)

    def exact(self, x, y):
        return (1 - x**2 - y**2) ** 2


@dataclass
class Channel(PDE):
    domain = Box(x=(0, 2), y=(0, 1))
    unknowns = "u v p"

    @interior
    def along_x(self, u, v, u_x, u_y, p_x, u_xx, u_yy):
        return u * u_x + v * u_y + p_x - 0.01 * (u_xx + u_yy)

    @interior
    def along_y(self, u, v, v_x, v_y, p_y, v_xx, v_yy):
        return u * v_x + v * v_y + p_y - 0.01 * (v_xx + v_yy)

    @interior
    def mass(self, u_x, v_y):
        return u_x + v_y

    @face(x=0)
    def inlet(self, u, v, y):
        return torch.cat([u - 4 * y * (1 - y), v], -1)

    @face(y=(0, 1))
    def walls(self, u, v):
        return torch.cat([u, v], -1)

    @face(x=2)
    def outlet(self, p, v):
        return torch.cat([p, v], -1)

    def exact(self, x, y):
        return 4 * y * (1 - y), 0 * y, 0.08 * (2 - x)


@dataclass
class NearSingular(PDE):
    domain = Box(x=(0, 1), y=(0, 1))
    unknowns = "u"

    @interior
    def balance(self, u_xx, u_yy):
        return u_xx + u_yy

    @boundary
    def sides(self, u, x, y):
        return u - self.exact(x, y)

    def exact(self, x, y):
        return torch.log((x + 0.05) ** 2 + (y + 0.05) ** 2)


CASES = [made for made in list(globals().values()) if isinstance(made, type) and made.__module__ == __name__]
