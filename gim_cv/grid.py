"""The pixel grid of a raster: which pixel lies where on the ground, and how large it is there."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from affine import Affine
from numpy.typing import NDArray
from pyproj import CRS, Geod, Transformer
from pyproj.exceptions import ProjError

from gim_cv.errors import DataError
from gim_cv.patches import Window

Float = NDArray[np.float64]
_WGS84 = Geod(ellps="WGS84")
NATIVE_TOLERANCE = 0.01
"""A resolution this close to the raster's own (share) counts as the raster's own."""


@lru_cache(maxsize=64)
def transformer(source: CRS, target: CRS) -> Transformer:
    """Return the transformer between two CRSs, x (or longitude) first in both.

    Raises
    ------
    DataError
        One of them is not tied to the Earth.
    """
    try:
        return Transformer.from_crs(source, target, always_xy=True)
    except ProjError as err:
        raise DataError(
            f"there is no way from {source.name} to {target.name}",
            expected="coordinate systems of places on the Earth",
            found=f"{source.type_name} and {target.type_name}",
            remedy="Give the file its true CRS, e.g. with gdal_edit -a_srs or ogr2ogr -a_srs",
        ) from err


LONLAT = CRS.from_epsg(4326)
_CORNER = np.array([0.0, 1.0])


def apply(transform: Affine, x: Float, y: Float) -> tuple[Float, Float]:
    """Return the points that `transform` takes the points (x, y) to."""
    a, b, c, d, e, f = transform[:6]
    return a * x + b * y + c, d * x + e * y + f


def _from_corner(transform: Affine, row: float, col: float, down: float, across: float) -> Affine:
    """Return a transform that begins at (row, col) with pixels `down` × `across` as large."""
    a, b, c, d, e, f = transform[:6]
    x, y = a * col + b * row + c, d * col + e * row + f
    return Affine(a * across, b * down, x, d * across, e * down, y)


@dataclass(frozen=True)
class PixelGrid:
    """Where the pixels of a raster lie.

    Parameters
    ----------
    crs
        Coordinate reference system of `transform`.
    transform
        Pixel (column, row) → (x, y); may rotate.
    height, width
        Size, px.
    """

    crs: CRS
    transform: Affine
    height: int
    width: int

    @property
    def window(self) -> Window:
        """The window that holds the whole grid."""
        return Window(0, 0, self.height, self.width)

    @property
    def resolution_m(self) -> tuple[float, float]:
        """Geodesic height and width of the central pixel on the ground, m (9 digits)."""
        row, col = self.height / 2, self.width / 2
        rows = np.array([row - 0.5, row + 0.5, row, row])
        cols = np.array([col, col, col - 0.5, col + 0.5])
        lon, lat = self.lonlat(rows, cols)
        _, _, metres = _WGS84.inv(lon[::2], lat[::2], lon[1::2], lat[1::2])
        if not (np.isfinite(metres).all() and (metres > 0).all()):
            raise DataError(
                "the raster's centre is not a place on the ground",
                expected=f"coordinates in {self.crs.name}",
                found=f"longitude {lon[0]}, latitude {lat[0]}",
                remedy="Check the CRS and the geotransform",
            )
        return float(f"{metres[0]:.9g}"), float(f"{metres[1]:.9g}")

    def lonlat(self, rows: Float, cols: Float) -> tuple[Float, Float]:
        """Return longitude and latitude (degrees, WGS 84) of pixel positions (px; .5 = centre)."""
        x, y = apply(self.transform, cols, rows)
        lon, lat = transformer(self.crs, LONLAT).transform(x, y)
        return lon, lat

    def pixels(self, lon: Float, lat: Float) -> tuple[Float, Float]:
        """Return the pixel positions (rows, cols; px) of longitudes and latitudes in degrees."""
        x, y = transformer(LONLAT, self.crs).transform(lon, lat)
        cols, rows = apply(~self.transform, x, y)
        return rows, cols

    def outline(self, points: int = 8) -> tuple[Float, Float]:
        """Return rows and cols (px) of a closed line around the grid, `points` to a side."""
        t = np.linspace(0, 1, points + 1)[:-1]
        rows = np.concatenate([0 * t, t, 0 * t + 1, 1 - t, [0.0]]) * self.height
        cols = np.concatenate([t, 0 * t + 1, 1 - t, 0 * t, [0.0]]) * self.width
        return rows, cols

    def part(self, window: Window) -> PixelGrid:
        """Return the grid of a window of this one."""
        transform = _from_corner(self.transform, window.row0, window.col0, 1, 1)
        return replace(self, transform=transform, height=window.height, width=window.width)

    def bounds_window(
        self, bounds: tuple[float, float, float, float], *, path: Path | None = None
    ) -> Window:
        """Return the whole-pixel window nearest to `bounds`.

        Two bounds that share an edge give windows that share it too, without a common pixel.

        Parameters
        ----------
        bounds
            left, bottom, right, top in the grid's CRS.
        path
            The raster's file, for the error text.

        Raises
        ------
        DataError
            The bounds hold no pixel of the raster.
        """
        left, bottom, right, top = bounds
        x, y = np.array([left, right, right, left]), np.array([bottom, bottom, top, top])
        cols, rows = apply(~self.transform, x, y)
        row0, col0 = math.floor(rows.min() + 0.5), math.floor(cols.min() + 0.5)
        row1, col1 = math.floor(rows.max() + 0.5), math.floor(cols.max() + 0.5)
        window = Window(row0, col0, row1 - row0, col1 - col0).clipped(self.height, self.width)
        if window.height == 0 or window.width == 0:
            x, y = apply(self.transform, self.width * _CORNER, self.height * _CORNER)
            raise DataError(
                "bounds hold no pixel of the image",
                path=path,
                expected=f"x between {x[0]} and {x[1]}, y between {y[0]} and {y[1]}",
                found=list(bounds),
                remedy="Give bounds in the image's CRS",
            )
        return window

    def factors(self, resolution_m: float) -> tuple[float, float]:
        """Return how many pixels, down and across, make one of `resolution_m` m on the ground.

        1.0 exactly for 0, and for anything within 1 % of the grid's own resolution.
        """
        if resolution_m < 0:
            raise DataError("resolution_m is negative", expected="0 or more", found=resolution_m)
        down, across = (resolution_m / own for own in self.resolution_m)
        if resolution_m == 0 or max(abs(down - 1), abs(across - 1)) <= NATIVE_TOLERANCE:
            return 1.0, 1.0
        return down, across

    def resampled(self, factors: tuple[float, float]) -> PixelGrid:
        """Return the grid from the same origin whose pixels are `factors` (down, across) as large.

        The size is rounded to whole pixels, halves up, and is at least 1.
        """
        down, across = factors
        return replace(
            self,
            transform=_from_corner(self.transform, 0, 0, down, across),
            height=max(1, math.floor(self.height / down + 0.5)),
            width=max(1, math.floor(self.width / across + 0.5)),
        )

    def attrs(self) -> dict[str, Any]:
        """Return the grid as JSON-able values: crs (WKT), transform (a … f), size, resolution_m."""
        return {
            "crs": self.crs.to_wkt(),
            "transform": list(self.transform)[:6],
            "height": self.height,
            "width": self.width,
            "resolution_m": list(self.resolution_m),
        }

    @classmethod
    def from_attrs(cls, attrs: Any) -> PixelGrid:
        """Return the grid that `attrs` described."""
        return cls(
            CRS.from_wkt(attrs["crs"]),
            Affine(*attrs["transform"]),
            int(attrs["height"]),
            int(attrs["width"]),
        )
