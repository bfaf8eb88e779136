"""Models; importing this package is all that Keras needs to load a saved one."""

from gim_cv.models.design import Design
from gim_cv.models.segmentalist import Segmentalist

__all__ = ["Design", "Segmentalist"]
