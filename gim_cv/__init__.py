"""Versioned patch datasets and segmentation models from very-high-resolution imagery."""

import gim_cv.codec  # noqa: F401 - before anything can load zarr

__version__ = "0.1.0"
