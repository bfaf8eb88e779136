"""Small rasters and labels, and the list of all kinds of input."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import geopandas
import numpy as np
import rasterio
import rasterio.features
import rasterio.shutil
from affine import Affine
from rasterio.transform import from_origin
from scipy import ndimage
from shapely import box

SIDE = 96
UTM = "EPSG:32633"
LEFT, TOP, STEP = 500_000.0, 4_000_000.0, 0.5
GRID = from_origin(LEFT, TOP, STEP, STEP)


def pixels(bands: int = 3, dtype: str = "uint8", side: int = SIDE) -> np.ndarray:
    """An image (bands, side, side) with texture, within the range of its type, never 0."""
    rng = np.random.default_rng(7)
    smooth = ndimage.gaussian_filter(rng.normal(0, 1, (bands, side, side)), (0, 2, 2))
    unit = 0.1 + 0.8 * (smooth - smooth.min()) / np.ptp(smooth)
    top = {"uint8": 255, "uint16": 4000, "int16": 4000, "float32": 1}[dtype]
    return (unit * top).astype(dtype)


def roofs(crs: str = UTM) -> geopandas.GeoDataFrame:
    """Three buildings, of which one is a class of its own, in any CRS."""
    shapes = [
        box(LEFT + x, TOP - y - 8, LEFT + x + 10, TOP - y) for x, y in ((4, 4), (24, 6), (8, 28))
    ]
    table = {"kind": ["house", "house", "barn"]}
    return geopandas.GeoDataFrame(table, geometry=shapes, crs=UTM).to_crs(crs)


def mask(value: int = 1) -> np.ndarray:
    """The roofs as a raster (SIDE, SIDE), uint8."""
    shapes = [(g, value) for g in roofs().geometry]
    return rasterio.features.rasterize(shapes, (SIDE, SIDE), transform=GRID, all_touched=True)


def write_tif(
    path: Path, data: np.ndarray, transform: Affine = GRID, crs: str | None = UTM, **more
):
    """Write (bands, h, w) as a GeoTIFF."""
    bands, height, width = data.shape
    profile = {"driver": "GTiff", "count": bands, "height": height, "width": width} | more
    grid = {} if transform.is_identity else {"transform": transform}
    with rasterio.open(path, "w", dtype=data.dtype, crs=crs, **profile, **grid) as sink:
        sink.write(data)


@dataclass
class Scene:
    """A folder with image and labels in it, and the catalog entry that names them."""

    folder: Path
    pair: dict[str, Any] = field(default_factory=dict)
    prepare: dict[str, Any] = field(default_factory=dict)
    source: dict[str, Any] | None = None

    def image(self, data: np.ndarray | None = None, *, name="image.tif", **options) -> None:
        write_tif(self.folder / name, pixels() if data is None else data, **options)
        self.pair["image"] = name

    def labels(self, table: geopandas.GeoDataFrame | None = None, name="labels.geojson") -> None:
        (roofs() if table is None else table).to_file(self.folder / name)
        self.pair["labels"] = name

    def raster_labels(self, data: np.ndarray | None = None, **options) -> None:
        write_tif(self.folder / "mask.tif", (mask() if data is None else data)[None], **options)
        self.pair["labels"] = "mask.tif"


Make = Callable[[Scene], None]
GOOD: dict[str, Make] = {}
BAD: dict[str, Make] = {}


def good(title: str) -> Callable[[Make], Make]:
    """Register a kind of input that becomes patches."""

    def keep(make: Make) -> Make:
        GOOD[title] = make
        return make

    return keep


def bad(title: str) -> Callable[[Make], Make]:
    """Register a kind of input that is refused."""

    def keep(make: Make) -> Make:
        BAD[title] = make
        return make

    return keep


def plain(scene: Scene) -> None:
    """A GeoTIFF and a GeoJSON."""
    scene.image()
    scene.labels()
