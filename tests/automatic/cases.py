"""Problems that no recipe was made for, with exact solutions or ones that SciPy certifies.

Written as a user would write them, without points, weights or recipe: the first 22 before the rule that chooses
recipes, the last four (holes, four and six coordinates) before they were first measured.
"""

import math
from dataclasses import dataclass

import torch

from nfsolve import PDE, Box, Disk, Sphere, boundary, face, interior, periodic
from tests.automatic.trajectories import at

PI = math.pi


@dataclass
class DampedOscillator(PDE):
    domain = Box(t=(0, 10))
    unknowns = "u"

    @interior
    def motion(self, u, u_t, u_tt):
        return u_tt + 0.4 * u_t + 9 * u

    @face(t=0)
    def start(self, u, u_t):
        return torch.cat([u - 1, u_t], -1)

    def exact(self, t):
        w = math.sqrt(8.96)
        return torch.exp(-0.2 * t) * (torch.cos(w * t) + 0.2 / w * torch.sin(w * t))


@dataclass
class Logistic(PDE):
    domain = Box(t=(0, 10))
    unknowns = "u"

    @interior
    def growth(self, u, u_t):
        return u_t - u * (1 - u)

    @face(t=0)
    def start(self, u):
        return u - 0.1

    def exact(self, t):
        return 0.1 / (0.1 + 0.9 * torch.exp(-t))


@dataclass
class VanDerPol(PDE):
    domain = Box(t=(0, 10))
    unknowns = "u"

    @interior
    def motion(self, u, u_t, u_tt):
        return u_tt - 2 * (1 - u**2) * u_t + u

    @face(t=0)
    def start(self, u, u_t):
        return torch.cat([u - 1, u_t], -1)

    def exact(self, t):
        return at("van_der_pol", 10, (1.0, 0.0), t, 1)


@dataclass
class Predators(PDE):
    domain = Box(t=(0, 12))
    unknowns = "u v"

    @interior
    def prey(self, u, v, u_t):
        return u_t - u * (1 - v)

    @interior
    def predator(self, u, v, v_t):
        return v_t - v * (u - 1)

    @face(t=0)
    def start(self, u, v):
        return torch.cat([u - 1.5, v - 0.8], -1)

    def exact(self, t):
        return at("predators", 12, (1.5, 0.8), t, 2)


@dataclass
class Lorenz(PDE):
    domain = Box(t=(0, 2))
    unknowns = "x y z"

    @interior
    def first(self, x, y, x_t):
        return x_t - 10 * (y - x)

    @interior
    def second(self, x, y, z, y_t):
        return y_t - x * (28 - z) + y

    @interior
    def third(self, x, y, z, z_t):
        return z_t - x * y + 8 / 3 * z

    @face(t=0)
    def start(self, x, y, z):
        return torch.cat([x + 8, y - 7, z - 27], -1)

    def exact(self, t):
        return at("lorenz", 2, (-8.0, 7.0, 27.0), t, 3)


@dataclass
class Pendulum(PDE):
    domain = Box(t=(0, 10))
    unknowns = "u"

    @interior
    def motion(self, u, u_tt):
        return u_tt + torch.sin(u)

    @face(t=0)
    def start(self, u, u_t):
        return torch.cat([u - 2, u_t], -1)

    def exact(self, t):
        return at("pendulum", 10, (2.0, 0.0), t, 1)


@dataclass
class BoundaryLayer(PDE):
    thickness: float = 0.05

    domain = Box(x=(0, 1))
    unknowns = "u"

    @interior
    def balance(self, u_x, u_xx):
        return u_x - self.thickness * u_xx - 1

    @face(x=(0, 1))
    def ends(self, u):
        return u

    def exact(self, x):
        e = self.thickness
        return x - (torch.exp((x - 1) / e) - math.exp(-1 / e)) / (1 - math.exp(-1 / e))


@dataclass
class Bratu(PDE):
    domain = Box(x=(0, 1))
    unknowns = "u"

    @interior
    def balance(self, u, u_xx):
        return u_xx + torch.exp(u)

    @face(x=(0, 1))
    def ends(self, u):
        return u

    def exact(self, x):
        theta = 1.5171645990507543704
        return -2 * torch.log(torch.cosh((x - 0.5) * theta / 2) / math.cosh(theta / 4))


@dataclass
class Beam(PDE):
    domain = Box(x=(0, 1))
    unknowns = "u"

    @interior
    def bending(self, u_xxxx, x):
        return u_xxxx + 8 * PI**4 * torch.cos(2 * PI * x)

    @face(x=(0, 1))
    def clamped(self, u, u_x):
        return torch.cat([u, u_x], -1)

    def exact(self, x):
        return torch.sin(PI * x) ** 2


@dataclass
class Heat(PDE):
    domain = Box(t=(0, 1), x=(0, 1))
    unknowns = "u"

    @interior
    def balance(self, u_t, u_xx):
        return u_t - 0.1 * u_xx

    @face(t=0)
    def start(self, u, x):
        return u - torch.sin(PI * x) - 0.5 * torch.sin(3 * PI * x)

    @face(x=(0, 1))
    def ends(self, u):
        return u

    def exact(self, t, x):
        first = torch.exp(-0.1 * PI**2 * t) * torch.sin(PI * x)
        return first + 0.5 * torch.exp(-0.9 * PI**2 * t) * torch.sin(3 * PI * x)


@dataclass
class Drift(PDE):
    domain = Box(t=(0, 1), x=periodic(0, 1))
    unknowns = "u"

    @interior
    def balance(self, u_t, u_x, u_xx):
        return u_t + 2 * u_x - 0.02 * u_xx

    @face(t=0)
    def start(self, u, x):
        return u - torch.sin(2 * PI * x)

    def exact(self, t, x):
        return torch.exp(-0.02 * (2 * PI) ** 2 * t) * torch.sin(2 * PI * (x - 2 * t))


@dataclass
class String(PDE):
    domain = Box(t=(0, 1), x=(0, 1))
    unknowns = "u"

    @interior
    def motion(self, u_tt, u_xx):
        return u_tt - 4 * u_xx

    @face(t=0)
    def start(self, u, u_t, x):
        return torch.cat([u - torch.sin(PI * x) - 0.3 * torch.sin(2 * PI * x), u_t], -1)

    @face(x=(0, 1))
    def ends(self, u):
        return u

    def exact(self, t, x):
        low = torch.sin(PI * x) * torch.cos(2 * PI * t)
        return low + 0.3 * torch.sin(2 * PI * x) * torch.cos(4 * PI * t)


@dataclass
class KleinGordon(PDE):
    domain = Box(t=(0, 2), x=(0, 1))
    unknowns = "u"

    @interior
    def motion(self, u, u_tt, u_xx, t, x):
        known = torch.sin(PI * x) * torch.cos(2 * t)
        return u_tt - u_xx + u**2 - (PI**2 - 4) * known - known**2

    @face(t=0)
    def start(self, u, u_t, x):
        return torch.cat([u - torch.sin(PI * x), u_t], -1)

    @face(x=(0, 1))
    def ends(self, u):
        return u

    def exact(self, t, x):
        return torch.sin(PI * x) * torch.cos(2 * t)


@dataclass
class Schroedinger(PDE):
    domain = Box(t=(0, 0.5), x=periodic(0, 1))
    unknowns = "a b"

    @interior
    def real(self, a_t, b_xx):
        return a_t + 0.5 * b_xx

    @interior
    def imaginary(self, b_t, a_xx):
        return b_t - 0.5 * a_xx

    @face(t=0)
    def start(self, a, b, x):
        return torch.cat([a - torch.cos(2 * PI * x) - torch.cos(4 * PI * x), b - torch.sin(2 * PI * x)], -1)

    def exact(self, t, x):
        k = 2 * PI
        low, high = k * x - k**2 * t / 2, 2 * k**2 * t
        return torch.cos(low) + torch.cos(2 * k * x) * torch.cos(high), torch.sin(low) - torch.cos(
            2 * k * x
        ) * torch.sin(high)


@dataclass
class Plate(PDE):
    domain = Disk(x=0.2, y=-0.1, radius=0.8)
    unknowns = "u"

    @interior
    def balance(self, lap_u, x, y):
        return lap_u + 3 * torch.exp(x) * torch.cos(2 * y)

    @boundary
    def rim(self, u, x, y):
        return u - torch.exp(x) * torch.cos(2 * y)

    def exact(self, x, y):
        return torch.exp(x) * torch.cos(2 * y)


@dataclass
class MixedHelmholtz(PDE):
    domain = Box(x=(0, 2), y=(0, 1))
    unknowns = "u"

    @interior
    def balance(self, u, lap_u):
        return lap_u + 25 * u

    @face(x=0)
    def left(self, u, y):
        return u - torch.sin(4 * y)

    @face(x=2)
    def flux(self, u_x, y):
        return u_x + 3 * math.sin(6) * torch.sin(4 * y)

    @face(y=(0, 1))
    def sides(self, u, x, y):
        return u - torch.cos(3 * x) * torch.sin(4 * y)

    def exact(self, x, y):
        return torch.cos(3 * x) * torch.sin(4 * y)


@dataclass
class Kovasznay(PDE):
    domain = Box(x=(-0.5, 1), y=(-0.5, 1.5))
    unknowns = "u v p"

    @interior
    def along(self, u, v, u_x, u_y, p_x, lap_u):
        return u * u_x + v * u_y + p_x - lap_u / 40

    @interior
    def across(self, u, v, v_x, v_y, p_y, lap_v):
        return u * v_x + v * v_y + p_y - lap_v / 40

    @interior
    def mass(self, u_x, v_y):
        return u_x + v_y

    @boundary
    def sides(self, u, v, p, x, y):
        return torch.cat([u, v, p], -1) - torch.cat(self.exact(x, y), -1)

    def exact(self, x, y):
        decay = 20 - math.sqrt(400 + 4 * PI**2)
        e = torch.exp(decay * x)
        return 1 - e * torch.cos(2 * PI * y), decay / (2 * PI) * e * torch.sin(2 * PI * y), (1 - e**2) / 2


@dataclass
class Carried(PDE):
    domain = Box(t=(0, 1), x=periodic(0, 2 * PI), y=periodic(0, 2 * PI))
    unknowns = "u"

    @interior
    def balance(self, u_t, u_x, u_y, u_xx, u_yy):
        return u_t + u_x + 0.5 * u_y - 0.1 * (u_xx + u_yy)

    @face(t=0)
    def start(self, u, x, y):
        return u - torch.cos(x) * torch.cos(2 * y)

    def exact(self, t, x, y):
        return torch.exp(-0.5 * t) * torch.cos(x - t) * torch.cos(2 * y - t)


@dataclass
class Ball(PDE):
    domain = Sphere(x=0, y=0, z=0, radius=1)
    unknowns = "u"

    @interior
    def balance(self, lap_u):
        return lap_u

    @boundary
    def rim(self, u, x, y, z):
        return u - torch.exp(x + y) * torch.cos(math.sqrt(2) * z)

    def exact(self, x, y, z):
        return torch.exp(x + y) * torch.cos(math.sqrt(2) * z)


@dataclass
class MovingPeak(PDE):
    domain = Box(t=(0, 1), x=(-1, 1), y=(-1, 1))
    unknowns = "u"

    @interior
    def balance(self, u_t, u_xx, u_yy, t, x, y):
        a, b = x - 0.4 * torch.cos(2 * t), y - 0.4 * torch.sin(2 * t)
        known = torch.exp(-8 * (a**2 + b**2))
        slope = -16 * (a * 0.8 * torch.sin(2 * t) - b * 0.8 * torch.cos(2 * t)) * known
        return u_t - 0.1 * (u_xx + u_yy) - slope + 0.1 * (256 * (a**2 + b**2) - 32) * known

    @face(t=0)
    def start(self, u, t, x, y):
        return u - self.exact(t, x, y)

    @face(x=(-1, 1), y=(-1, 1))
    def walls(self, u, t, x, y):
        return u - self.exact(t, x, y)

    def exact(self, t, x, y):
        return torch.exp(-8 * ((x - 0.4 * torch.cos(2 * t)) ** 2 + (y - 0.4 * torch.sin(2 * t)) ** 2))


@dataclass
class Fisher(PDE):
    domain = Box(t=(0, 1), x=(-5, 10))
    unknowns = "u"

    @interior
    def growth(self, u, u_t, u_xx):
        return u_t - u_xx - 6 * u * (1 - u)

    @face(t=0)
    def start(self, u, t, x):
        return u - self.exact(t, x)

    @face(x=(-5, 10))
    def ends(self, u, t, x):
        return u - self.exact(t, x)

    def exact(self, t, x):
        return (1 + torch.exp(x - 5 * t)) ** -2


@dataclass
class Front(PDE):
    domain = Box(t=(0, 1), x=(-1, 1))
    unknowns = "u"

    @interior
    def growth(self, u, u_t, u_xx):
        return u_t - 0.0025 * u_xx - 4 * u * (1 - u) * (u - 0.25)

    @face(t=0)
    def start(self, u, t, x):
        return u - self.exact(t, x)

    @face(x=(-1, 1))
    def ends(self, u, t, x):
        return u - self.exact(t, x)

    def exact(self, t, x):
        speed = 0.5 * math.sqrt(2 * 0.0025 * 4) * 0.5  # sqrt(D k / 2) (1 - 2 a) with a = 1/4
        return torch.sigmoid(-(x + 0.3 - speed * t) * math.sqrt(4 / (2 * 0.0025)))


@dataclass
class TwoPipes(PDE):
    domain = Box(x=(-2, 2), y=(-1, 1)) - Disk(x=-0.9, y=0.2, radius=0.3) - Disk(x=0.8, y=-0.1, radius=0.5)
    unknowns = "u"

    @interior
    def laplace(self, lap_u):
        return lap_u

    @boundary
    def walls(self, u, x, y):
        return u - self.exact(x, y)

    def exact(self, x, y):
        first, second = (x + 0.9) ** 2 + (y - 0.2) ** 2, (x - 0.8) ** 2 + (y + 0.1) ** 2
        return torch.log(first) - 0.5 * torch.log(second) + 0.1 * (x - 0.8) / second + x * y


@dataclass
class Shell(PDE):
    domain = Sphere(x=0, y=0, z=0, radius=1) - Sphere(x=0, y=0, z=0, radius=0.4)
    unknowns = "u"

    @interior
    def helmholtz(self, u, lap_u):
        return lap_u + 9 * u

    @boundary
    def rims(self, u, x, y, z):
        return u - self.exact(x, y, z)

    def exact(self, x, y, z):
        r = torch.sqrt(x**2 + y**2 + z**2)
        return torch.cos(3 * r) / r


@dataclass
class CoolingBlock(PDE):
    domain = Box(t=(0, 1), x=(0, 1), y=(0, 1), z=(0, 1))
    unknowns = "u"

    @interior
    def heat(self, u_t, lap_u):
        return u_t - 0.1 * lap_u

    @face(t=0)
    def initial(self, u, t, x, y, z):
        return u - self.exact(t, x, y, z)

    @face(x=(0, 1))
    @face(y=(0, 1))
    @face(z=(0, 1))
    def walls(self, u, t, x, y, z):
        return u - self.exact(t, x, y, z)

    def exact(self, t, x, y, z):
        return torch.exp(-1.4 * t) * torch.sin(x + 2 * y + 3 * z) + torch.exp(-0.2 * t) * torch.cos(x - y)


@dataclass
class SixDimensions(PDE):
    domain = Box(a=(0, 1), b=(0, 1), c=(0, 1), d=(0, 1), e=(0, 1), f=(0, 1))
    unknowns = "u"

    @interior
    def poisson(self, lap_u, a, b, c, d, e, f):
        total = torch.sin(a) + 4 * torch.sin(2 * b) + torch.cos(c) - torch.exp(d)
        return lap_u + total + 2 * torch.sin(e + f)

    @boundary
    def walls(self, u, a, b, c, d, e, f):
        return u - self.exact(a, b, c, d, e, f)

    def exact(self, a, b, c, d, e, f):
        return torch.sin(a) + torch.sin(2 * b) + torch.cos(c) + torch.exp(d) + torch.sin(e + f)


CASES = (
    DampedOscillator,
    Logistic,
    VanDerPol,
    Predators,
    Lorenz,
    Pendulum,
    BoundaryLayer,
    Bratu,
    Beam,
    Heat,
    Drift,
    String,
    KleinGordon,
    Schroedinger,
    Plate,
    MixedHelmholtz,
    Kovasznay,
    Carried,
    Ball,
    MovingPeak,
    Fisher,
    Front,
    TwoPipes,
    Shell,
    CoolingBlock,
    SixDimensions,
)
