"""Problems whose coefficient jumps: their fluxes are unknowns too, and no derivative of the coefficient is needed."""

from dataclasses import replace

import torch

from nfsolve.metrics import max_error, relative_l2
from problems.pinnacle._benchmark import Tabulated, read_export


class WithFluxes(Tabulated):
    """A problem of u and its fluxes p = a u_x and q = a u_y, of which only u is in the file of the reference."""

    unknowns = "u p q"

    def table(self):
        """Return the points of the reference and the values of u there; those of the fluxes are not known."""
        points, u = read_export(self.data, type(self), self.domain.names, ("u",), self.every)
        return points, torch.cat([u, torch.zeros(len(u), 2, dtype=u.dtype)], 1)

    def load(self, device, dtype):
        """Read the reference, and mark where it says something."""
        data = super().load(device, dtype)
        if "reference" in data:
            known = data["reference"]
            living = torch.tensor([True, False, False], device=known.points.device).expand(len(known.points), 3)
            data["reference"] = replace(known, living=living)
        return data

    def metrics(self, field, data):
        """Return the errors of u."""
        known = data.get("reference")
        if known is None:
            return {}
        with torch.no_grad():
            u = field(known.points)[:, :1]
        error, largest = relative_l2(u, known.values[:, :1]), max_error(u, known.values[:, :1])
        return {"relative_l2": error, "relative_l2/u": error, "max_error/u": largest, "reference_floor/u": known.floor}
