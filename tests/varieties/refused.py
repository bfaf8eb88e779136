"""Kinds of input that are refused."""

import tarfile
import zipfile

import numpy as np
import pandas as pd
from affine import Affine
from rasterio.transform import from_origin
from shapely import Polygon

from varieties.making import (
    LEFT,
    SIDE,
    STEP,
    TOP,
    bad,
    mask,
    pixels,
    plain,
    roofs,
    write_tif,
)


@bad("image is missing")
def _(scene):
    plain(scene)
    (scene.folder / "image.tif").unlink()


@bad("labels are missing")
def _(scene):
    plain(scene)
    (scene.folder / "labels.geojson").unlink()


@bad("truncated TIFF")
def _(scene):
    plain(scene)
    path = scene.folder / "image.tif"
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


@bad("file that is no raster")
def _(scene):
    plain(scene)
    (scene.folder / "image.tif").write_text("<html>404</html>")


@bad("shapefile without .dbf, classes by attribute")
def _(scene):
    scene.image()
    scene.labels(name="labels.shp")
    (scene.folder / "labels.dbf").unlink()
    scene.pair |= {
        "class_attribute": "kind",
        "classes": {"house": 1, "barn": 2},
        "class_names": ["other", "house", "barn"],
    }


@bad("shapefile without .prj")
def _(scene):
    scene.image()
    scene.labels(name="labels.shp")
    (scene.folder / "labels.prj").unlink()


@bad("image without CRS")
def _(scene):
    scene.image(crs=None)
    scene.labels()


@bad("image without geotransform")
def _(scene):
    scene.image(transform=Affine.identity())
    scene.labels()


@bad("labels elsewhere")
def _(scene):
    scene.image()
    table = roofs()
    table["geometry"] = table.translate(5000, 0)
    scene.labels(table)


@bad("labels with swapped axes")
def _(scene):
    scene.image()
    table = roofs("EPSG:4326")
    table["geometry"] = [Polygon([(y, x) for x, y in g.exterior.coords]) for g in table.geometry]
    scene.labels(table)


@bad("empty layer")
def _(scene):
    scene.image()
    scene.labels(roofs().iloc[:0], name="labels.gpkg")


@bad("empty shapefile")
def _(scene):
    scene.image()
    scene.labels(roofs().iloc[:0], name="labels.shp")


@bad("layer that does not exist")
def _(scene):
    scene.image()
    scene.labels(name="labels.gpkg")
    scene.pair["layer"] = "rofs"


@bad("attribute filter that is no SQL")
def _(scene):
    plain(scene)
    scene.pair["where"] = "kind ="


@bad("attribute filter that keeps nothing")
def _(scene):
    plain(scene)
    scene.pair["where"] = "kind = 'castle'"


@bad("class attribute that does not exist")
def _(scene):
    plain(scene)
    scene.pair |= {"class_attribute": "kin", "classes": {"house": 1}}


@bad("class that the catalog does not name")
def _(scene):
    plain(scene)
    scene.pair |= {"class_attribute": "kind", "classes": {"house": 1}}


@bad("label raster with a value that stands for no class")
def _(scene):
    scene.image()
    scene.raster_labels(mask(7))


@bad("label raster elsewhere")
def _(scene):
    scene.image()
    scene.raster_labels(transform=from_origin(LEFT + 5000, TOP, STEP, STEP))


@bad("label raster of other size, without georeference")
def _(scene):
    scene.image()
    scene.raster_labels(mask()[:50, :50], transform=Affine.identity(), crs=None)


@bad("points instead of polygons")
def _(scene):
    scene.image()
    table = roofs()
    table["geometry"] = table.centroid
    scene.labels(table)


@bad("image that is nodata everywhere")
def _(scene):
    scene.image(np.zeros((3, SIDE, SIDE), np.uint8), nodata=0)
    scene.labels()


@bad("image of one value")
def _(scene):
    scene.image(np.full((3, SIDE, SIDE), 80, np.uint8))
    scene.labels()


@bad("band that does not exist")
def _(scene):
    plain(scene)
    scene.pair["bands"] = [1, 2, 5]


@bad("band name that does not exist")
def _(scene):
    plain(scene)
    scene.pair["bands"] = ["nir"]


@bad("single-band files of different size")
def _(scene):
    write_tif(scene.folder / "b0.tif", pixels(1))
    write_tif(scene.folder / "b1.tif", pixels(1, side=80))
    scene.labels()
    scene.pair["image"] = ["b0.tif", "b1.tif"]


@bad("single-band files of different type")
def _(scene):
    write_tif(scene.folder / "b0.tif", pixels(1))
    write_tif(scene.folder / "b1.tif", pixels(1, "float32"))
    scene.labels()
    scene.pair["image"] = ["b0.tif", "b1.tif"]


@bad("non-square pixels at native resolution")
def _(scene):
    scene.image(transform=from_origin(LEFT, TOP, 0.5, 0.4))
    scene.labels()


@bad("complex pixels")
def _(scene):
    scene.image(pixels().astype("complex64"))
    scene.labels()


@bad("bounds beside the image")
def _(scene):
    plain(scene)
    scene.pair["bounds"] = [0, 0, 100, 100]


@bad("CRS that no one knows")
def _(scene):
    scene.image(crs=None)
    scene.labels()
    scene.pair["image_crs"] = "EPSG:999999"


@bad("image with a CRS, image_crs is another")
def _(scene):
    plain(scene)
    scene.pair["image_crs"] = "EPSG:32632"


@bad("labels with a CRS, labels_crs is another")
def _(scene):
    plain(scene)
    scene.pair["labels_crs"] = "EPSG:32632"


@bad("archive with a path that leaves its folder")
def _(scene):
    with zipfile.ZipFile(scene.folder / "data.zip", "w") as bundle:
        bundle.writestr("../evil.txt", "x")
    scene.source = {"url": f"file:{scene.folder / 'data.zip'}"}


@bad("archive with a link that leaves its folder")
def _(scene):
    with tarfile.open(scene.folder / "data.tar", "w") as bundle:
        link = tarfile.TarInfo("link")
        link.type, link.linkname = tarfile.SYMTYPE, "../../outside"
        bundle.addfile(link)
    scene.source = {"url": f"file:{scene.folder / 'data.tar'}"}


@bad("checksum mismatch")
def _(scene):
    (scene.folder / "data.bin").write_bytes(b"changed")
    scene.source = {"url": f"file:{scene.folder / 'data.bin'}", "sha256": "0" * 64}


@bad("areas of two splits overlap")
def _(scene):
    plain(scene)
    areas = roofs()[:1].assign(split="train")
    areas = pd.concat([areas, areas.assign(split="test")])
    areas.to_file(scene.folder / "areas.geojson")
    scene.pair["split_areas"] = "areas.geojson"


@bad("split_areas with another word than train, val, test")
def _(scene):
    plain(scene)
    roofs().assign(split="hold-out").to_file(scene.folder / "areas.geojson")
    scene.pair["split_areas"] = "areas.geojson"
