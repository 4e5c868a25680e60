"""`optimizer` of a training: one section for each optimizer, with the parameters that it has."""

from typing import Annotated, Literal

from pydantic import Field

from thaw.config.base import Section

LearningRate = Annotated[float, Field(gt=0, le=10)]
Epsilon = Annotated[float, Field(gt=0)]


class Adam(Section):
    """Adam (Kingma and Ba 2015)."""

    name: Literal["adam"]
    learning_rate: LearningRate
    epsilon: Epsilon
    """Keeps the division by the gradients' size finite."""


class AdamW(Section):
    """Adam with decoupled weight decay (Loshchilov and Hutter 2019)."""

    name: Literal["adamw"]
    learning_rate: LearningRate
    epsilon: Epsilon
    """Keeps the division by the gradients' size finite."""
    weight_decay: Annotated[float, Field(ge=0)]


class RMSprop(Section):
    """RMSprop (Hinton 2012)."""

    name: Literal["rmsprop"]
    learning_rate: LearningRate
    epsilon: Epsilon
    """Keeps the division by the gradients' size finite."""


class SGD(Section):
    """Stochastic gradient descent with momentum."""

    name: Literal["sgd"]
    learning_rate: LearningRate
    momentum: Annotated[float, Field(ge=0, lt=1)]


Optimizer = Annotated[Adam | AdamW | RMSprop | SGD, Field(discriminator="name")]
