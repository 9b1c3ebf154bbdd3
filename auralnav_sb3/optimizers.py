"""An optimizer that gives the separator a learning rate of its own."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import nn


class SeparatorAdam(torch.optim.Adam):
    """Adam in which a separator that learns with the policy moves more carefully than the policy.

    For any SB3 algorithm, under its learning rate schedules too::

        policy_kwargs = dict(
            features_extractor_class=SeparatedCuesExtractor,
            features_extractor_kwargs=dict(separator="separator.pth", freeze_separator=False),
            optimizer_class=SeparatorAdam,
            optimizer_kwargs=dict(separator_lr_scale=0.1),
        )

    A separator's parameters are those with ``parameter.belongs_to_separator = True``, as `SeparatedCuesExtractor` marks
    them. SB3 sets the same ``lr`` in every parameter group; it is that of the policy, and while a step is taken that of
    the separator is ``separator_lr_scale`` times as high.

    (SB3's actor-critic policies pass ``eps=1e-5`` to torch's Adam, but to no other optimizer: to have it here too, put
    it into ``optimizer_kwargs``.)

    Args:
        params: Parameters, those of a separator among them.
        lr: Learning rate of the policy.
        separator_lr_scale: Learning rate of the separator over that of the policy, above 0. Not part of the state dict:
            what is given here holds after a load, too.
        **kwargs: Of `torch.optim.Adam`.

    Raises:
        ValueError: separator_lr_scale is not a number above 0, or no parameter belongs to a separator.
    """

    def __init__(
        self,
        params: Iterable[nn.Parameter],
        lr: float = 1e-3,
        separator_lr_scale: float = 0.1,
        **kwargs: Any,
    ) -> None:
        if not 0 < separator_lr_scale < math.inf:
            raise ValueError(
                f"separator_lr_scale: expected a number above 0, actual {separator_lr_scale!r}; "
                "a separator that shall not learn is frozen with the extractor's freeze_separator=True"
            )
        groups: dict[bool, list[nn.Parameter]] = {False: [], True: []}
        for parameter in params:
            groups[getattr(parameter, "belongs_to_separator", False)].append(parameter)
        if not groups[True]:
            raise ValueError(
                "params: expected some that belong to a separator, actual none; the policy needs a "
                "SeparatedCuesExtractor as its features extractor, or torch.optim.Adam as its optimizer"
            )
        super().__init__(
            [{"params": parameters, "belongs_to_separator": own} for own, parameters in groups.items()], lr=lr, **kwargs
        )
        # Among the defaults, which torch copies and pickles with an optimizer, but not in the groups, which a state
        # dict overwrites.
        self.defaults["separator_lr_scale"] = separator_lr_scale

    def step(self, closure: Callable[[], float] | None = None) -> float | None:  # type: ignore[override]
        """Take one step, as `torch.optim.Adam` does."""
        separators = [group for group in self.param_groups if group["belongs_to_separator"]]
        rates = [group["lr"] for group in separators]
        try:
            for group in separators:
                group["lr"] *= self.defaults["separator_lr_scale"]
            return super().step(closure)
        finally:
            for group, rate in zip(separators, rates, strict=True):
                group["lr"] = rate
