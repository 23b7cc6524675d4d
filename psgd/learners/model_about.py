"""What a model file says about its model, as pydantic models: a stranger's file is checked before anything uses it."""

import math
from functools import cache
from typing import Annotated, ClassVar, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError, model_validator

from psgd.learners.saved_structure import Size, Structure

Finite = Annotated[float, Field(allow_inf_nan=False)]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Texts = Annotated[list[str], Field(min_length=1)]


class _Part(BaseModel):
    # Other keys are ignored: a later version may write more. Built when first used: few commands use all of them.
    model_config = ConfigDict(strict=True, frozen=True, defer_build=True)


class Network(_Part):
    activation: Literal["relu", "sigmoid", "tanh", "identity"]
    output: Literal["identity", "sigmoid", "tanh", "softmax", "relu"]
    loss: Literal["squared-error", "binary-cross-entropy", "cross-entropy", "hinge", "huber"]


class Scaled(_Part):
    kind: Literal["scale"]
    scale: Positive
    shape: list[Size] | None = None  # of an example; null: (features,)

    @property
    def inputs(self) -> int | None:
        return None if self.shape is None else math.prod(self.shape)


class Libsvm(_Part):
    kind: Literal["libsvm"]
    zero_based: bool
    unit: bool
    inputs: ClassVar[None] = None


class Number(_Part):
    name: str
    kind: Literal["number"]
    missing: Finite
    mean: Finite
    deviation: Positive
    inputs: ClassVar[int] = 1


class _Categories(_Part):
    name: str
    categories: Texts
    missing: str

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.missing not in self.categories or len(set(self.categories)) < len(self.categories):
            raise ValueError("categories must be different, and missing one of them")
        return self


class Codes(_Categories):
    kind: Literal["codes"]
    mean: Finite
    deviation: Positive
    inputs: ClassVar[int] = 1


class OneHot(_Categories):
    kind: Literal["one-hot"]

    @property
    def inputs(self) -> int:
        return len(self.categories)


class Target(_Part):
    name: str
    mean: Finite = 0.0
    deviation: Positive = 1.0


class Table(_Part):
    kind: Literal["table"]
    separator: Literal["comma", "semicolon", "tab", "spaces"]
    decimal: Literal["point", "comma"] = "point"  # files of earlier versions do not say
    target: Target
    columns: list[Annotated[Number | Codes | OneHot, Field(discriminator="kind")]] = Field(min_length=1)

    @property
    def inputs(self) -> int:
        return sum(column.inputs for column in self.columns)

    @model_validator(mode="after")
    def _different(self) -> Self:
        if len({self.target.name, *(column.name for column in self.columns)}) <= len(self.columns):
            raise ValueError("the names of columns and target must differ")
        return self


class About(_Part):
    """All about a network. `sizes`: of the layers, inputs first; `classes`: their names, empty in regression."""

    kind: Literal["mlp", "sparse-linear"]
    sizes: list[Size] = Field(min_length=2)
    model: Network
    classes: list[int | str]
    preparation: Annotated[Scaled | Libsvm | Table, Field(discriminator="kind")]

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        classes, outputs, needed = len(self.classes), self.sizes[-1], self.preparation.inputs
        if classes and classes != outputs and (classes, outputs) != (2, 1):
            raise ValueError(f"{classes} classes, but {outputs} outputs")
        if len(set(self.classes)) < classes:
            raise ValueError("two classes have one name")
        if needed is not None and needed != self.sizes[0]:
            raise ValueError(f"the preparation makes {needed} inputs, but the first layer has {self.sizes[0]}")
        if self.kind == "sparse-linear" and (len(self.sizes) > 2 or outputs > 1):
            raise ValueError(f"a sparse-linear model has one layer with one output, not sizes {self.sizes[:5]}")
        return self


class AboutParameters(_Part):
    """All about the parameters of a user's own function."""

    kind: Literal["parameters"]
    structure: Structure


@cache
def _any() -> TypeAdapter[About | AboutParameters]:
    return TypeAdapter(Annotated[About | AboutParameters, Field(discriminator="kind")])


def read_about(text: str) -> About | AboutParameters:
    """Parse and check JSON. ValueError says where it is wrong first."""
    try:
        return _any().validate_json(text)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where, what = ".".join(map(str, first["loc"][1:])), first["msg"].removeprefix("Value error, ")  # [0]: the kind
        raise ValueError(f"{where}: {what}" if where else what) from None
