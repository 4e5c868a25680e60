"""`optimizer` of a training: one section per optimizer, with the parameters that it has."""

from typing import Annotated, Literal

from pydantic import Field

from thaw.config.base import Section

LearningRate = Annotated[float, Field(gt=0, le=10)]
Epsilon = Annotated[float, Field(gt=0)]


class Adam(Section):
    """Adam (Kingma and Ba 2015)."""

    name: Literal["adam"]
    """The optimizer."""
    learning_rate: LearningRate
    """Step size, before the schedule."""
    epsilon: Epsilon
    """Added to the denominator for numerical stability."""


class AdamW(Section):
    """Adam with decoupled weight decay (Loshchilov and Hutter 2019)."""

    name: Literal["adamw"]
    """The optimizer."""
    learning_rate: LearningRate
    """Step size, before the schedule."""
    epsilon: Epsilon
    """Added to the denominator for numerical stability."""
    weight_decay: Annotated[float, Field(ge=0)]
    """Share of each weight, times the learning rate, that a step subtracts."""


class RMSprop(Section):
    """RMSprop (Hinton 2012)."""

    name: Literal["rmsprop"]
    """The optimizer."""
    learning_rate: LearningRate
    """Step size, before the schedule."""
    epsilon: Epsilon
    """Added to the denominator for numerical stability."""


class SGD(Section):
    """Stochastic gradient descent with momentum."""

    name: Literal["sgd"]
    """The optimizer."""
    learning_rate: LearningRate
    """Step size, before the schedule."""
    momentum: Annotated[float, Field(ge=0, lt=1)]
    """Share of the previous update that is added to the next."""


Optimizer = Annotated[Adam | AdamW | RMSprop | SGD, Field(discriminator="name")]
