r"""How well images survive the way through the latents: PSNR, SSIM and MS-SSIM, by ``torchmetrics``.

.. math:: \mathrm{PSNR} = -10 \log_{10} \mathrm{MSE} \quad \text{for pixels in } [0, 1], \qquad
          \text{MS-SSIM} = \mathrm{SSIM}_5^{w_5} \prod_{s=1}^{4} c_s^{w_s}

where :math:`c_s` is SSIM's product of contrast and structure, without luminance, at scale s, each scale at half the size of
the last, and 0 where it is negative. All compare an image with the mean of p(x|z) at the mean of q(z|x); reported is the
mean over images.

References:
    | Image Quality Assessment: From Error Visibility to Structural Similarity (Wang et al., 2004),
      https://doi.org/10.1109/TIP.2003.819861
    | Multiscale Structural Similarity for Image Quality Assessment (Wang et al., 2003),
      https://doi.org/10.1109/ACSSC.2003.1292216
"""

import torch
from torch import Tensor
from torchmetrics.functional.image import (
    multiscale_structural_similarity_index_measure,
    peak_signal_noise_ratio,
    structural_similarity_index_measure,
)

from vaekit.core.units import to_unit_interval
from vaekit.data import ImageSet
from vaekit.evaluation.estimate import PIXELS, Estimate, batches, mean_over_images
from vaekit.models import VAE

WINDOW_SIGMA = 1.5
"""The width of SSIM's Gaussian in pixels, as published; its window of 11 pixels shrinks for smaller images."""

MAX_DECIBELS = 100.0
"""What a ratio is cut off at: an error of a hundred-thousandth of white."""

SMALLEST_SIDE = 2
"""The smallest side, in pixels, whose border can be mirrored."""

SCALE_WEIGHTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)
"""The weights of MS-SSIM's scales, from the full size down, as published."""

SMALLEST_SIDE_OF_SCALES = 176
"""The smallest side, in pixels, that SSIM's window of 11 pixels still fits into when it was halved four times."""


def reconstruction_quality(model: VAE, images: ImageSet) -> dict[str, Estimate]:
    """Returns ``psnr`` in decibels and, 1 for equal images, ``ssim`` from sides of 2 on and ``ms_ssim`` from 176 on."""
    side = min(images.shape[1:])
    measures = {"psnr": psnr}
    measures |= {"ssim": ssim} if side >= SMALLEST_SIDE else {}
    measures |= {"ms_ssim": ms_ssim} if side >= SMALLEST_SIDE_OF_SCALES else {}
    values: dict[str, list[Tensor]] = {name: [] for name in measures}
    for pixels, labels in batches(model, images, f"reconstructing {len(images):,} images"):
        reconstruction, x = model.reconstruct(pixels, labels).clamp(0, 1), to_unit_interval(pixels)
        for name, measure in measures.items():
            values[name].append(measure(reconstruction, x))
    return {
        name: mean_over_images(torch.cat(each), "dB" if name == "psnr" else "1 is equal", space=PIXELS)
        for name, each in values.items()
    }


def psnr(a: Tensor, b: Tensor) -> Tensor:
    """Returns the peak signal-to-noise ratio in decibels, with shape (B), of images in [0, 1] of shape (B, C, H, W).

    Images that are equal, whose ratio has no end, count as 100 dB.
    """
    ratio: Tensor = peak_signal_noise_ratio(a, b, data_range=1.0, dim=(1, 2, 3), reduction="none")
    return ratio.clamp(max=MAX_DECIBELS)


def ssim(a: Tensor, b: Tensor) -> Tensor:
    """Returns the structural similarity, with shape (B), of images in [0, 1] of shape (B, C, H, W), 2 x 2 at least."""
    side = min(a.shape[-2:])
    sigma = min(WINDOW_SIGMA, (side - 1) / 3.5)  # a window reaches 3.5 sigma to each side, over borders that are mirrored
    ratio = structural_similarity_index_measure(a, b, sigma=sigma, data_range=1.0, reduction="none")
    assert isinstance(ratio, Tensor)  # a tuple only where the full map is asked for
    return ratio.reshape(len(a))


def ms_ssim(a: Tensor, b: Tensor) -> Tensor:
    """Returns the structural similarity over five scales, with shape (B), of images in [0, 1] of shape (B, C, H, W).

    Sides are 176 at least. The smallest scale is compared over borders that are mirrored, as in :func:`ssim`; the others
    where the window lies inside the image.
    """
    ratio = multiscale_structural_similarity_index_measure(
        a, b, sigma=WINDOW_SIGMA, data_range=1.0, betas=SCALE_WEIGHTS, reduction="none"
    )
    assert isinstance(ratio, Tensor)
    return ratio.reshape(len(a))
