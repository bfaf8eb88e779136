"""Scenes on disk whose truth is known in closed form: each pixel is a formula, each house a box."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import geopandas
import numpy as np
import rasterio
import shapely
from affine import Affine
from pyproj import CRS, Transformer

from gim_cv.catalog import Pair
from gim_cv.ground import GroundSplit

OPTIONS: dict[str, Any] = {
    "patch_px": 32,
    "overlap": 0.0,
    "resolution_m": 0.0,
    "resampling": "bilinear",
    "mask_fraction": 0.1,
    "all_touched": True,
    "min_valid": 0.0,
    "min_labelled": 0.0,
}
RULE = GroundSplit("blocks", 40.0, (0.6, 0.2, 0.2), 3, 0.0, 0, 0)


def georeference(
    crs: str, lon: float, lat: float, metres: float, angle: float = 0.0
) -> tuple[str, Affine]:
    """CRS and transform of a raster whose first pixel is at (lon, lat) and about `metres` large."""
    x, y = Transformer.from_crs(4326, crs, always_xy=True).transform(lon, lat)
    if CRS(crs).is_geographic:
        across, down = metres / (111_320 * np.cos(np.radians(lat))), metres / 110_600
    else:
        stretch = 1 / np.cos(np.radians(lat)) if CRS(crs).to_epsg() == 3857 else 1.0
        across = down = metres * stretch
    turn = Affine(np.cos(angle), -np.sin(angle), 0.0, np.sin(angle), np.cos(angle), 0.0)
    a, b, _, d, e, _ = turn[:6]
    return crs, Affine(across * a, -across * b, x, -down * d, -down * e, y)


def pixel_values(height: int, width: int, bands: int = 3, dtype: str = "uint8") -> np.ndarray:
    """The image (height, width, bands): 1 + (7 row + 3 col + 50 band) mod 199, never 0."""
    row, col, band = np.ogrid[:height, :width, :bands]
    return (1 + (7 * row + 3 * col + 50 * band) % 199).astype(dtype)


PLAIN = Affine(0.5, 0.0, 500_000.0, 0.0, -0.5, 4_000_000.0)


@dataclass
class Scene:
    """A raster and houses that are boxes (row0, col0, row1, col1) in px."""

    height: int = 96
    width: int = 96
    crs: str | None = "EPSG:32633"
    transform: Affine = PLAIN
    houses: list[tuple[float, float, float, float]] = field(
        default_factory=lambda: [(4, 6, 20, 30), (40, 50, 61, 70)]
    )
    bands: int = 3
    dtype: str = "uint8"
    nodata: float | None = None
    nodata_columns: int = 0

    def image(self) -> np.ndarray:
        """The image (height, width, bands) as written."""
        image = pixel_values(self.height, self.width, self.bands, self.dtype)
        image[:, : self.nodata_columns] = 0 if self.nodata is None else self.nodata
        return image

    def truth(self) -> np.ndarray:
        """The mask (height, width) of houses whose corners are whole px; 255 on nodata."""
        mask = np.zeros((self.height, self.width), np.uint8)
        for row0, col0, row1, col1 in self.houses:
            mask[int(row0) : int(row1), int(col0) : int(col1)] = 1
        mask[:, : self.nodata_columns] = 255
        return mask

    def write(self, folder: Path, *, labels_crs: str | None = None, **profile: Any) -> Path:
        """Write image.tif and labels.gpkg; return the folder."""
        self.write_image(folder, **profile)
        frame = geopandas.GeoDataFrame(geometry=self.shapes(), crs=self.crs)
        (frame if labels_crs is None else frame.to_crs(labels_crs)).to_file(folder / "labels.gpkg")
        return folder

    def write_image(self, folder: Path, **profile: Any) -> Path:
        """Write image.tif; return its path."""
        folder.mkdir(parents=True, exist_ok=True)
        planes = np.moveaxis(self.image(), -1, 0)
        with rasterio.open(
            folder / "image.tif",
            "w",
            driver="GTiff",
            count=self.bands,
            height=self.height,
            width=self.width,
            dtype=self.dtype,
            crs=self.crs,
            transform=self.transform,
            nodata=self.nodata,
            **profile,
        ) as sink:
            sink.write(planes)
        return folder / "image.tif"

    def shapes(self) -> list[shapely.Polygon]:
        """The houses in the scene's CRS."""
        a, b, c, d, e, f = self.transform[:6]
        boxes = [shapely.box(col0, row0, col1, row1) for row0, col0, row1, col1 in self.houses]
        return [shapely.affinity.affine_transform(box, [a, b, d, e, c, f]) for box in boxes]


def pair(name: str = "scene", source: str = "s", **more: Any) -> Pair:
    """The catalog entry of a scene written to raw/<source>."""
    return Pair(
        name=name, source=source, **({"image": "image.tif", "labels": "labels.gpkg"} | more)
    )
