"""A small task or two of every operator of `autosched.nn`, with all its parts."""

from __future__ import annotations

from typing import Any, Final

_IMAGE: Final = {"N": 1, "C": 4, "H": 7, "W": 6}
_LAYER: Final = {**_IMAGE, "K": 8, "R": 3, "S": 3, "padding": 1, "bias": True}

CASES: Final[tuple[tuple[str, dict[str, Any]], ...]] = (
    ("gemm", {"N": 9, "K": 7, "M": 16}),
    ("gemm", {"N": 9, "K": 7, "M": 16, "transposeA": True, "transposeB": True}),
    ("batch_gemm", {"B": 2, "N": 9, "K": 7, "M": 16, "transposeB": True}),
    ("gemv", {"N": 9, "K": 7, "transposeA": True}),
    ("linear", {"N": 9, "K": 7, "M": 16, "bias": True, "relu": True}),
    ("bilinear", {"N": 5, "K1": 7, "K2": 6, "M": 16, "bias": True}),
    ("mttkrp", {"N": 5, "K1": 7, "K2": 6, "M": 16}),
    ("conv1d", {"N": 1, "C": 4, "L": 20, "K": 8, "R": 3, "stride": 2, "padding": 1, "bias": True}),
    ("conv2d", {**_LAYER, "groups": 2, "dilation": 2, "relu": True}),
    ("conv3d", {**_LAYER, "D": 4, "T": 2}),
    ("depthwise_conv2d", {**_IMAGE, "factor": 2, "R": 3, "S": 3, "stride": 2, "padding": 1, "bias": True}),
    ("conv2d_nhwc", _LAYER),
    ("conv2d_nchwc", {**_LAYER, "c_block": 2, "k_block": 4, "relu": True}),
    ("conv2d_im2col", {**_LAYER, "groups": 2}),
    ("conv2d_winograd", {**_LAYER, "tile": 2}),
    ("conv2d_winograd", {**_LAYER, "tile": 4}),
    ("conv_transpose1d", {"N": 1, "C": 4, "L": 9, "K": 8, "R": 3, "stride": 2, "padding": 1, "bias": True}),
    ("conv_transpose2d", {**_LAYER, "stride": 2, "output_padding": 1, "groups": 2}),
    ("conv_transpose2d", {**_LAYER, "padding": 3, "relu": True}),
    ("conv_transpose3d", {**_LAYER, "D": 3, "T": 2, "stride": (1, 2, 2), "dilation": 2}),
    ("pixelcnn", {**_LAYER, "mask_b": 0}),
    ("gatedpixelcnn", {**_LAYER, "K": 4}),
    ("shift_conv2d", {**_IMAGE, "R": 3, "S": 3}),
    ("maxunpooling1d", {"N": 1, "C": 4, "L": 9, "R": 2, "stride": 2}),
    ("maxunpooling2d", {**_IMAGE, "R": 2, "S": 2, "stride": 2}),
    ("maxunpooling2d", {**_IMAGE, "R": 3, "S": 3, "stride": 2, "padding": 1}),
    ("mean", {"N": 3, "K": 7, "M": 16}),
    ("variance", {"N": 3, "K": 7, "M": 16}),
    ("batch_norm", _IMAGE),
    ("batch_norm", {**_IMAGE, "training": True}),
    ("layer_norm", {"N": 5, "K": 16}),
    ("softmax", {"N": 5, "K": 16}),
    ("pointwise", {"N": 100, "how": "divide"}),
    ("lstm_cell", {"N": 3, "C": 5, "K": 8, "bias": True}),
    ("block_circulant_matrix", {"ROW": 10, "COL": 16, "FFT": 4}),
)
