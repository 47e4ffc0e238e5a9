r"""Structural dissimilarity of two images over several scales, by ``kornia``.

.. math:: d(x, y) = \frac1S \sum_{s=1}^{S} \bigl(1 - \mathrm{SSIM}(x_s, y_s)\bigr)

where :math:`x_s` has half the size of :math:`x_{s-1}`, as long as SSIM's window fits into it. It is 0 for equal images,
about 1 for unrelated images, and at most 2. Squared error prefers a blurred edge to one that is a pixel off; this measure
does so less. It is not a log-probability.

References:
    | Image Quality Assessment: From Error Visibility to Structural Similarity (Wang et al., 2004),
      https://doi.org/10.1109/TIP.2003.819861
    | Learning to Generate Images with Perceptual Similarity Metrics (Snell et al., 2017), https://arxiv.org/abs/1511.06409
"""

import torch
import torch.nn.functional as F
from torch import Tensor

WINDOW = 11
"""The side of SSIM's Gaussian window in pixels, as published; smaller images get the largest odd side that fits."""
MAX_SCALES = 5


def dissimilarity(y: Tensor, x: Tensor) -> Tensor:
    """Returns the structural dissimilarity of each image, with shape (K, B).

    Arguments:
        y: Reconstructions on the unit interval, with shape (K, B, C, H, W).
        x: Images on the unit interval, with shape (B, C, H, W).
    """
    from kornia.metrics import ssim  # heavy, and rarely needed

    num = y.shape[:2]
    x, y = x.expand_as(y).flatten(0, 1), y.flatten(0, 1)
    scales: list[Tensor] = []
    while not scales or (min(y.shape[-2:]) >= WINDOW and len(scales) < MAX_SCALES):
        side = min(y.shape[-2:])
        window = min(WINDOW, side - 1 + side % 2)
        scales.append(1 - ssim(y, x, window).flatten(1).mean(1))
        x, y = F.avg_pool2d(x, 2, ceil_mode=True), F.avg_pool2d(y, 2, ceil_mode=True)
    mean: Tensor = torch.stack(scales).mean(0).unflatten(0, num)
    return mean
