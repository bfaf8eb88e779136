"""Models; importing this package is all that Keras needs to load a saved one."""

from gim_cv.models.design import Design
from gim_cv.models.segmentalist import Segmentalist
from gim_cv.models.turning import TurningSegmentalist

__all__ = ["Design", "Segmentalist", "TurningSegmentalist"]
