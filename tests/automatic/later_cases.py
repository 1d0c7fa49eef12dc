"""Problems written last, as a new user would pose them.

Four of them showed faults that were then mended, so that they are no test of the mended parts: an orbit and the two
quotients (equations that are not finite at zero), an inner layer and a membrane (features were given up too early), and
a narrow peak that spreads.
"""

import math
from dataclasses import dataclass

import torch

from nfsolve import PDE, Box, Disk, boundary, face, interior, periodic

PI = math.pi


@dataclass
class Orbit(PDE):
    domain = Box(t=(0, 10))
    unknowns = "x y"

    @interior
    def falls(self, x, y, x_tt, y_tt):
        cubed = (x**2 + y**2) ** 1.5
        return torch.cat([x_tt + x / cubed, y_tt + y / cubed], -1)

    @face(t=0)
    def nearest(self, x, y, x_t, y_t):
        return torch.cat([x - 0.5, y, x_t, y_t - math.sqrt(3)], -1)

    def exact(self, t):
        anomaly = t + 0.5 * torch.sin(t)  # Kepler's equation by Newton's method
        for _ in range(20):
            anomaly = anomaly - (anomaly - 0.5 * torch.sin(anomaly) - t) / (1 - 0.5 * torch.cos(anomaly))
        return torch.cos(anomaly) - 0.5, math.sqrt(0.75) * torch.sin(anomaly)


@dataclass
class Quotient(PDE):
    domain = Box(x=(0, 1))
    unknowns = "u"

    @interior
    def bends(self, u, u_x, u_xx):
        return u_xx - 2 * u_x**2 / u

    @face(x=(0, 1))
    def ends(self, u, x):
        return u - self.exact(x)

    def exact(self, x):
        return 1 / (1 + x)


@dataclass
class Film(PDE):
    domain = Box(x=(0, 1), y=(0, 1))
    unknowns = "u"

    @interior
    def tension(self, u, u_xx, u_yy, x, y):
        e = self.exact(x, y)
        return u_xx + u_yy + u**-1.5 + 13 * (e - 1) - e**-1.5

    @face(x=(0, 1), y=(0, 1))
    def edge(self, u, x, y):
        return u - self.exact(x, y)

    def exact(self, x, y):
        return 1 + 0.3 * torch.sin(2 * x) * torch.cos(3 * y)


@dataclass
class InnerLayer(PDE):
    domain = Box(x=(-1, 1))
    unknowns = "u"

    @interior
    def balance(self, u_xx, u_x, x):
        return 1e-3 * u_xx + x * u_x

    @face(x=(-1, 1))
    def ends(self, u, x):
        return u - self.exact(x)

    def exact(self, x):
        return torch.erf(x / math.sqrt(2e-3))


@dataclass
class Outflow(PDE):
    domain = Box(x=(0, 1), y=(0, 1))
    unknowns = "u"

    @interior
    def transport(self, u_x, u_y, u_xx, u_yy):
        return u_x + u_y - 0.02 * (u_xx + u_yy)

    @face(x=(0, 1), y=(0, 1))
    def walls(self, u, x, y):
        return u - self.exact(x, y)

    def exact(self, x, y):
        return (1 - torch.exp(50 * (x - 1))) * (1 - torch.exp(50 * (y - 1))) / (1 - math.exp(-50)) ** 2


@dataclass
class Membrane(PDE):
    domain = Box(t=(0, 1), x=(0, 1), y=(0, 1))
    unknowns = "u"

    @interior
    def waves(self, u_tt, u_xx, u_yy):
        return u_tt - u_xx - u_yy

    @face(t=0)
    def start(self, u, u_t, x, y):
        return torch.cat([u - torch.sin(2 * PI * x) * torch.sin(3 * PI * y), u_t], -1)

    @face(x=(0, 1), y=(0, 1))
    def rim(self, u):
        return u

    def exact(self, t, x, y):
        return torch.cos(math.sqrt(13) * PI * t) * torch.sin(2 * PI * x) * torch.sin(3 * PI * y)


@dataclass
class MovingSoliton(PDE):
    domain = Box(t=(0, 1), x=(-10, 10))
    unknowns = "a b"

    @interior
    def schroedinger(self, a, b, a_t, b_t, a_xx, b_xx):
        twice = 2 * (a**2 + b**2)
        return torch.cat([a_xx + twice * a - b_t, b_xx + twice * b + a_t], -1)

    @face(t=0)
    def start(self, a, b, x):
        return torch.cat([a, b], -1) - torch.cat(self.exact(torch.zeros_like(x), x), -1)

    @face(x=(-10, 10))
    def ends(self, a, b, t, x):
        return torch.cat([a, b], -1) - torch.cat(self.exact(t, x), -1)

    def exact(self, t, x):
        size = 1 / torch.cosh(x - 2 * t)
        return size * torch.cos(x), size * torch.sin(x)


@dataclass
class Elastic(PDE):
    domain = Box(x=(0, 1), y=(0, 1))
    unknowns = "u v"

    @interior
    def balance(self, u_xx, u_yy, u_xy, v_xx, v_yy, v_xy, x, y):
        s = PI**2 * torch.sin(PI * x) * torch.sin(PI * y)
        c = PI**2 * torch.cos(PI * x) * torch.cos(PI * y)
        along = 2 * u_xx + 0.5 * u_yy + 1.5 * v_xy + 2.5 * s - 3 * c
        across = 2 * v_yy + 0.5 * v_xx + 1.5 * u_xy + 5 * s - 1.5 * c
        return torch.cat([along, across], -1)

    @face(x=(0, 1), y=(0, 1))
    def clamped(self, u, v):
        return torch.cat([u, v], -1)

    def exact(self, x, y):
        u = torch.sin(PI * x) * torch.sin(PI * y)
        return u, 2 * u


@dataclass
class Ring(PDE):
    domain = Box(t=(0, 1)) * (Disk(x=0, y=0, radius=1) - Disk(x=0, y=0, radius=0.4))
    unknowns = "u"

    @interior
    def heat(self, u_t, u_xx, u_yy, t, x, y):
        return u_t - 0.1 * (u_xx + u_yy) + (1 + 0.4 / (x**2 + y**2)) * self.exact(t, x, y)

    @face(t=0)
    def start(self, u, x, y):
        return u - self.exact(torch.zeros_like(x), x, y)

    @boundary
    def walls(self, u, t, x, y):
        return u - self.exact(t, x, y)

    def exact(self, t, x, y):
        return torch.exp(-t) * (x**2 + y**2)


@dataclass
class Cubic(PDE):
    domain = Box(x=(-1, 1), y=(-1, 1))
    unknowns = "u"

    @interior
    def balance(self, u, u_xx, u_yy, x, y):
        e = self.exact(x, y)
        return u**3 - u_xx - u_yy - 5 * PI**2 * e - e**3

    @face(x=(-1, 1), y=(-1, 1))
    def walls(self, u):
        return u

    def exact(self, x, y):
        return 2 * torch.sin(PI * x) * torch.sin(2 * PI * y)


@dataclass
class Reacting(PDE):
    domain = Box(t=(0, 1), x=periodic(0, 1), y=periodic(0, 1))
    unknowns = "u v"

    @interior
    def reaction(self, u, v, u_t, v_t, u_xx, u_yy, v_xx, v_yy, t, x, y):
        a, b = self.exact(t, x, y)
        first = u_t - 0.01 * (u_xx + u_yy) - u**2 * v + u - 0.08 * PI**2 * a + a**2 * b
        second = v_t - 0.02 * (v_xx + v_yy) + u**2 * v + (2 - 0.08 * PI**2) * (b - 1) - a**2 * b
        return torch.cat([first, second], -1)

    @face(t=0)
    def start(self, u, v, x, y):
        return torch.cat([u, v], -1) - torch.cat(self.exact(torch.zeros_like(x), x, y), -1)

    def exact(self, t, x, y):
        u = torch.exp(-t) * torch.sin(2 * PI * (x + y))
        return u, 1 + 0.5 * torch.exp(-2 * t) * torch.cos(2 * PI * x)


@dataclass
class OnePeriod(PDE):
    domain = Box(t=(0, 1), x=periodic(0, 1))
    unknowns = "u"

    @interior
    def transport(self, u_t, u_x):
        return u_t + u_x

    @face(t=0)
    def start(self, u, x):
        return u - self.exact(torch.zeros_like(x), x)

    def exact(self, t, x):
        return torch.exp(12 * (torch.cos(2 * PI * (x - t)) - 1))


@dataclass
class Cube(PDE):
    domain = Box(x=(0, 1), y=(0, 1), z=(0, 1))
    unknowns = "u"

    @interior
    def helmholtz(self, u, u_xx, u_yy, u_zz):
        return u_xx + u_yy + u_zz + 36 * u

    @face(x=(0, 1), y=(0, 1), z=(0, 1))
    def walls(self, u, x, y, z):
        return u - self.exact(x, y, z)

    def exact(self, x, y, z):
        return torch.sin(2 * x) * torch.sin(4 * y) * torch.cos(4 * z)


@dataclass
class SpreadingPeak(PDE):
    domain = Box(t=(0, 1), x=(-6, 6))
    unknowns = "p"

    @interior
    def fokker_planck(self, p, p_t, p_x, p_xx, x):
        return p_t - p - x * p_x - p_xx

    @face(t=0)
    def start(self, p, x):
        return p - self.exact(torch.zeros_like(x), x)

    @face(x=(-6, 6))
    def ends(self, p, t, x):
        return p - self.exact(t, x)

    def exact(self, t, x):
        variance = 1 - 0.96 * torch.exp(-2 * t)
        return torch.exp(-((x - torch.exp(-t)) ** 2) / (2 * variance)) / torch.sqrt(2 * PI * variance)


@dataclass
class TravellingShock(PDE):
    domain = Box(t=(0, 1), x=(-1, 1))
    unknowns = "u"

    @interior
    def burgers(self, u, u_t, u_x, u_xx):
        return u_t + u * u_x - 0.01 * u_xx

    @face(t=0)
    def start(self, u, x):
        return u - self.exact(torch.zeros_like(x), x)

    @face(x=(-1, 1))
    def ends(self, u, t, x):
        return u - self.exact(t, x)

    def exact(self, t, x):
        return 0.5 * (1 - torch.tanh(25 * (x + 0.3 - 0.5 * t)))


@dataclass
class VibratingBeam(PDE):
    domain = Box(t=(0, 1), x=(0, 1))
    unknowns = "u"

    @interior
    def motion(self, u_tt, u_xxxx):
        return u_tt + u_xxxx

    @face(t=0)
    def start(self, u, u_t, x):
        return torch.cat([u - self.exact(torch.zeros_like(x), x), u_t], -1)

    @face(x=(0, 1))
    def supports(self, u, u_xx):
        return torch.cat([u, u_xx], -1)

    def exact(self, t, x):
        first = torch.sin(PI * x) * torch.cos(PI**2 * t)
        return first + 0.3 * torch.sin(2 * PI * x) * torch.cos(4 * PI**2 * t)


@dataclass
class MixedDarcy(PDE):
    domain = Box(x=(0, 1), y=(0, 1))
    unknowns = "p a b"

    @interior
    def flow(self, p_x, p_y, a, b, a_x, b_y, x, y):
        k = 1 + 0.9 * torch.sin(3 * x) * torch.cos(2 * y)
        k_x, k_y = 2.7 * torch.cos(3 * x) * torch.cos(2 * y), -1.8 * torch.sin(3 * x) * torch.sin(2 * y)
        source = torch.exp(x) * (k_y * torch.sin(y) - k_x * torch.cos(y))
        return torch.cat([a + k * p_x, b + k * p_y, a_x + b_y - source], -1)

    @face(x=(0, 1), y=(0, 1))
    def pressure(self, p, x, y):
        return p - torch.exp(x) * torch.cos(y)

    def exact(self, x, y):
        k = 1 + 0.9 * torch.sin(3 * x) * torch.cos(2 * y)
        p = torch.exp(x) * torch.cos(y)
        return p, -k * p, k * torch.exp(x) * torch.sin(y)


CASES = [
    Orbit,
    Quotient,
    Film,
    InnerLayer,
    Outflow,
    Membrane,
    MovingSoliton,
    Elastic,
    Ring,
    Cubic,
    Reacting,
    OnePeriod,
    Cube,
    SpreadingPeak,
    TravellingShock,
    VibratingBeam,
    MixedDarcy,
]
