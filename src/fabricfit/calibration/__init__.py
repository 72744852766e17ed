"""Number formats from data: ranges, second-order sensitivities, and a check on the quantized network."""

from fabricfit.calibration.calibrate import calibrate
from fabricfit.calibration.figures import Figures
from fabricfit.calibration.result import Calibration, NumberFormat

__all__ = ["Calibration", "Figures", "NumberFormat", "calibrate"]
