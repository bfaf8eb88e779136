"""What predicts without a network: the mean of the bands, as a Keras model or a predictor."""

import numpy as np

from gim_cv.predictor import Predictor


class Brightness:
    """Stands for a Keras model: the mean of the bands is the probability."""

    name, layers = "brightness", ()

    def __init__(self, inputs=(None, None, None, 3), outputs=(None, None, None, 1), weight=1.0):
        self.input_shape, self.output_shape, self.weight = inputs, outputs, weight

    def predict_on_batch(self, images):
        return images.mean(-1, keepdims=True)

    def get_config(self):
        return {"outputs": self.output_shape}

    def get_weights(self):
        return [np.full((2, 2), self.weight, np.float32)]


def of_model(model=None, **options):
    defaults = {"classes": ("background", "building"), "scale": 255.0, "threshold": 0.5}
    return Predictor.of_model(model or Brightness(), **(defaults | {"symmetries": False} | options))


def trained(**options):
    """A predictor of images such as those of `Scene`."""
    about = {
        "predict": Brightness().predict_on_batch,
        "classes": ("background", "building"),
        "scale": 255.0,
        "level": 128,
        "bands": 3,
        "band_names": ("red", "green", "blue"),
        "image_dtype": "uint8",
        "resolution_m": (0.5, 0.5),
        "about": {},
    }
    return Predictor(**(about | options))


def open_it(predictor, *paths, **options):
    defaults = {"bands": None, "bounds": None, "nodata": None, "image_crs": None}
    return predictor.open_image(paths, **(defaults | {"resampling": "bilinear"} | options))
