"""What optimizers with one parameter group share: a refusal of more groups, copies, and notice of thawed parameters."""

import copy
from typing import Any

from torch import Tensor

from nfsolve._core.errors import InputError
from nfsolve.optim.light import Light

SHARED = "shared"  # key of the state that belongs to no single parameter


class OneGroup(Light):
    """An optimizer that treats its parameters as one vector; a base of optimizers, not one to choose.

    Attributes:
        stop_reason: Why no further step makes sense, in words; empty otherwise.

    Raises:
        InputError: A second parameter group, at the start or later.
    """

    stop_reason = ""

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """Take the first parameter group and refuse any other."""
        if self.param_groups:
            raise InputError(
                f"{type(self).__name__} needs one parameter group, as it moves all parameters as one vector, "
                "but got a second one",
                do="pass all parameters as one list to a new optimizer, or use Adam, SOAP or ESGD",
            )
        super().add_param_group(param_group)

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restore a state; the given one stays independent of later steps."""
        super().load_state_dict(copy.deepcopy(state_dict))

    @property
    def _trained(self) -> list[Tensor]:
        """The parameters that require a gradient."""
        return [p for p in self.param_groups[0]["params"] if p.requires_grad]

    def _thawed_or_frozen(self, shared: dict[str, Any]) -> bool:
        """Return whether other parameters require a gradient than at the last call: stored vectors do not fit then."""
        before, now = shared.get("trained"), [p.requires_grad for p in self.param_groups[0]["params"]]
        shared["trained"] = now
        return before is not None and before != now

    def _row_count(self, objective: Any) -> int:
        """Return the number of residuals, counted once."""
        shared = self.state.setdefault(SHARED, {})  # type: ignore[arg-type]
        if "rows" not in shared:
            shared["rows"] = objective.count()
        return shared["rows"]

    def _need(self, objective: Any, offers: str) -> None:
        """Refuse a plain closure: ``offers`` names the methods that an objective needs, as in ``stacked(theta)``."""
        names = (call.split("(")[0] for call in offers.split(" and "))
        if not all(hasattr(objective, name) for name in names):
            raise TypeError(
                f"{type(self).__name__} got a {type(objective).__name__} without residuals: it needs an objective with "
                f"{offers}. Pass LeastSquares(residual_function, parameters), or use nf.solve"
            )

    def _check_objective(self, objective: Any) -> None:
        """Refuse an objective about other parameters than those of the optimizer that require a gradient."""
        if [id(p) for p in objective.parameters] != [id(p) for p in self._trained]:
            raise InputError(
                f"{type(self).__name__} needs an objective that trains the same parameters in the same order as the "
                "optimizer, but got an objective with other parameters",
                do="make the optimizer with objective.parameters, and a new objective after parameters are frozen, "
                "thawed or added",
            )
