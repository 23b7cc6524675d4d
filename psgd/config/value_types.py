"""The types of single settings: what a value may be, in the words that messages quote after "it must be"."""

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field


def _classes(value: int) -> int:
    if value == 1:
        raise ValueError
    return value


def different(items: list[Any]) -> list[Any]:
    """Validate that no two items are equal."""
    if len({str(item) for item in items}) < len(items):
        raise ValueError("names something twice")
    return items


# Upper limits are above what any machine can do, and low enough for numbers to be computed with. Messages say them.
Count = Annotated[int, Field(gt=0, le=10**12, description="a whole number greater than 0")]
Processes = Annotated[int, Field(gt=0, le=4096)]
Workers = Annotated[int, Field(gt=0, le=16384)]
Natural = Annotated[int, Field(ge=0, description="a whole number of at least 0")]
Positive = Annotated[float, Field(gt=0, description="a number greater than 0")]
NotNegative = Annotated[float, Field(ge=0, description="a number of at least 0")]
Fraction = Annotated[float, Field(ge=0, lt=1, description="a number of at least 0 and less than 1")]
Share = Annotated[float, Field(gt=0, le=1, description="a number greater than 0 and at most 1")]
Flag = Annotated[bool, Field(description="true or false")]
# Without control characters and line separators, which YAML would not read back as they were saved. For the regular
# expressions of pydantic, of Python and of editors.
Text = Annotated[
    str, Field(pattern=r"^[^\x00-\x1f\x7f-\x9f\u2028\u2029]+$", description="text that is not empty, of one line")
]
Classes = Annotated[
    int,
    Field(ge=0, json_schema_extra={"not": {"const": 1}}),
    AfterValidator(_classes),
    Field(description="a whole number of at least 2, or 0 for regression"),
]
OptionalCount = Annotated[Count | None, Field(description="a whole number greater than 0, or null")]
Path = Annotated[Text | None, Field(description="a path, or null")]
Limit = Annotated[Positive | None, Field(description="a number greater than 0, or null")]
_unique = {"uniqueItems": True}  # in the JSON Schema, what different checks
Names = Annotated[list[Text], AfterValidator(different), Field(json_schema_extra=_unique)]
Trackers = Annotated[
    list[Literal["tensorboard", "mlflow"]], AfterValidator(different), Field(json_schema_extra=_unique)
]
Activation = Annotated[
    Literal["relu", "sigmoid", "tanh", "identity"],
    Field(description="one of relu, sigmoid, tanh, identity (softmax is for model.output only)"),
]
Initializer = Annotated[
    Literal["xavier", "he", "normal", "constant"],
    BeforeValidator(lambda value: "xavier" if value == "glorot" else value),
    Field(
        description="one of xavier (or glorot), he, normal, constant",
        json_schema_extra={"enum": ["xavier", "glorot", "he", "normal", "constant"]},
    ),
]
