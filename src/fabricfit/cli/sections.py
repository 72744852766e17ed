"""Sections of the file that describes a run: data, budget, training and levels."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    ValidationInfo,
    create_model,
    field_validator,
    model_validator,
)

from fabricfit.description.quantities import parse_clock, parse_time
from fabricfit.hardware.resource_records import amount_names
from fabricfit.run import defaults

__all__ = [
    "BudgetConfig",
    "Count",
    "DataConfig",
    "Fraction",
    "LevelsConfig",
    "Section",
    "TrainingConfig",
    "Whole",
]

Fraction = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]
Amount = Annotated[float, Field(ge=0, allow_inf_nan=False)]
_MOST = 2**31 - 1
Count = Annotated[int, Field(ge=1, le=_MOST, strict=True)]
Whole = Annotated[int, Field(ge=0, le=_MOST, strict=True)]


class Section(BaseModel):
    """A part of the file, which has no keys but its own."""

    model_config = ConfigDict(extra="forbid", protected_namespaces=())


_Named = Annotated[dict[str, str | list[str]], Field(min_length=1)]


class DataConfig(Section):
    """Sources of the samples."""

    source: str = Field(
        description="An .npz, .h5 or .parquet file, a folder of .npy files, or 'module:function', which "
        "returns (X, y), (X, y, weights), or two of these, for training and for validation."
    )
    inputs: str | list[str] | _Named | None = Field(
        default=None,
        description="Name of the inputs in the file ('X'); of a Parquet file, the columns. For several "
        "inputs, the names of the arrays, if these are the model's, or input: array.",
    )
    targets: str | list[str] | _Named = Field(
        default="y",
        description="Name of the targets in the file; for several outputs as for several inputs.",
    )
    weights: str | None = Field(
        default=None,
        description="Name of the weights of the samples in the file; by default 'w', if there is one.",
    )
    validation: str | None = Field(
        default=None,
        description="Another source for validation; by default X_val and y_val of the file, or a "
        "fraction of X and y.",
    )
    validation_fraction: Annotated[float, Field(gt=0, lt=1)] = Field(
        default=0.2,
        description="Fraction of the samples to validate with, where the source has none.",
    )
    memory_gib: Annotated[float, Field(ge=0, allow_inf_nan=False)] = Field(
        default=1.0,
        description="Samples of more than so many GiB stay in their files, which are read block by block.",
    )


if TYPE_CHECKING:
    _AmountName = str
    _Amounts = Section
else:
    _AmountName = Literal[amount_names()]
    _Amounts = create_model(
        "_Amounts", __base__=Section, **dict.fromkeys(amount_names(), (Amount | None, None))
    )


class BudgetConfig(_Amounts):
    """What the model may use: a device, amounts, or fractions of the present usage; and deadlines."""

    device: str | None = Field(
        default=None, description="A board or part, see 'fabricfit devices'."
    )
    fraction: Annotated[float, Field(gt=0, le=1)] = Field(
        default=1.0, description="Fraction of the device that may be used."
    )
    relative: dict[_AmountName, Fraction] | None = None
    family: str | None = None
    clock_ns: Annotated[float, Field(gt=0)] | None = Field(
        default=None, description="Clock period in nanoseconds."
    )
    clock: float | str | None = Field(
        default=None, description="The clock in place of clock_ns, such as 200MHz or 5ns."
    )
    latency: float | str | None = Field(
        default=None, description="Longest time from a sample to its result, such as 1us."
    )
    interval: float | str | None = Field(
        default=None, description="Longest time between two samples, such as 25ns."
    )
    tool: str | None = Field(default=None, description="HLS compiler, such as 'Vitis HLS 2024.1'.")
    binding: Literal["auto", "dsp", "fabric"] | None = Field(
        default=None, description="What products are built from."
    )
    stage: Literal["hls", "logic synthesis"] | None = Field(
        default=None, description="Whose LUTs and flip-flops are meant."
    )
    margin: Annotated[float, Field(ge=0, le=1)] = Field(
        default=0.0, description="Part of the error bar that must fit, 1 for its upper end."
    )

    @field_validator("clock", "latency", "interval", mode="before")
    @classmethod
    def _check_times(cls, value: Any, info: ValidationInfo) -> Any:
        if value is not None:
            name = str(info.field_name)
            (parse_clock if name == "clock" else parse_time)(value, name)
        return value

    @model_validator(mode="after")
    def _require_one_form(self) -> BudgetConfig:
        ways = {
            "device": self.device is not None,
            "amounts": any(getattr(self, name, None) is not None for name in amount_names()),
            "relative": bool(self.relative),
        }
        if sum(ways.values()) != 1:
            given = [name for name, present in ways.items() if present] or "none"
            raise ValueError(
                f"exactly one of a device, amounts, and 'relative' is needed. Received: {given}"
            )
        if self.clock is not None and self.clock_ns is not None:
            raise ValueError("the clock must be given once, as clock or as clock_ns")
        return self


_ByOutput = Annotated[dict[str, str], Field(min_length=1)]


class TrainingConfig(Section):
    """Settings of the training, as in fabricfit.OptimizationSettings; by default those of the model."""

    batch_size: Count | None = None
    epochs: Count | None = None
    optimizer: str | None = None
    learning_rate: Annotated[float, Field(gt=0, allow_inf_nan=False)] | None = None
    loss: str | list[str | None] | _ByOutput | None = None
    loss_weights: float | list[float] | dict[str, float] | None = None
    class_weight: dict[int, float] | None = None
    metric: str | list[str | list[str] | None] | dict[str, str | list[str]] | None = None
    increasing: bool | None = None
    rtol: Annotated[float, Field(gt=0, allow_inf_nan=False)] | None = None
    max_drop: Annotated[float, Field(ge=0, allow_inf_nan=False)] | None = None
    ranking_metric: str | None = None
    rewinding_epochs: Whole | None = None
    cutoff_bad_trials: Whole = defaults.CUTOFF_BAD_TRIALS
    tuner: Literal["halving", "Bayesian", "Hyperband", "Manual"] | None = defaults.TUNER
    trials: Count = defaults.TRIALS
    search: Count | None = Field(
        default=None,
        description="Choices of regularization strengths to try: trials and tuner in one.",
    )
    regularization_range: list[Amount] | None = None
    patience: Count | None = defaults.PATIENCE
    seed: Whole = defaults.SEED
    recalibration: Whole = defaults.RECALIBRATION
    compensation: Whole = defaults.COMPENSATION
    curvature_samples: Count | None = None
    finishing_epochs: Whole | None = None
    distillation: Annotated[float, Field(ge=0, lt=1)] = defaults.DISTILLATION
    temperature: Annotated[float, Field(gt=0)] = defaults.TEMPERATURE


class LevelsConfig(Section):
    """Sparsity levels of the run."""

    schedule: Literal["polynomial", "constant", "binary"] = "polynomial"
    steps: Count = defaults.LEVELS
    initial: Fraction = 0.0
    final: Fraction = 1.0
