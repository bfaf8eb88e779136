"""Models; importing this package is all that Keras needs to load a saved one.

A saved model names what it was compiled with, so that is imported here too.
"""

from gim_cv import losses, metrics, optimizers  # noqa: F401
from gim_cv.models.design import Design
from gim_cv.models.segmentalist import Segmentalist
from gim_cv.models.turning import TurningSegmentalist

__all__ = ["Design", "Segmentalist", "TurningSegmentalist"]
