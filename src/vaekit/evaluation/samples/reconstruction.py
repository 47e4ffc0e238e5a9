r"""The quality of reconstructions: PSNR, SSIM and MS-SSIM, computed by ``torchmetrics``.

.. math:: \mathrm{PSNR} = -10 \log_{10} \mathrm{MSE} \quad \text{for pixels in } [0, 1], \qquad
          \text{MS-SSIM} = \mathrm{SSIM}_5^{w_5} \prod_{s=1}^{4} c_s^{w_s}

where :math:`c_s` is the product of SSIM's contrast and structure terms, without luminance, at scale s. Each scale has half
the size of the previous one, and negative :math:`c_s` are set to 0. A reconstruction is the mean of p(x|z) at the mean of
q(z|x). Values are means over images.

References:
    | Image Quality Assessment: From Error Visibility to Structural Similarity (Wang et al., 2004),
      https://doi.org/10.1109/TIP.2003.819861
    | Multiscale Structural Similarity for Image Quality Assessment (Wang et al., 2003),
      https://doi.org/10.1109/ACSSC.2003.1292216
"""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from vaekit.core.units import to_unit_interval
from vaekit.data import ImageSet
from vaekit.evaluation.estimate import PIXELS, Estimate, Metric, batches, mean_over_images
from vaekit.evaluation.finiteness import require_finite
from vaekit.models import Model

WINDOW_SIGMA = 1.5
"""The standard deviation of SSIM's Gaussian window, in pixels, as published; smaller for images below 11 pixels."""

MAX_PSNR = 100.0
"""The upper limit of the PSNR, in decibels, which is infinite for equal images."""

MIN_SIDE_SSIM = 2
"""The smallest side, in pixels, whose border can be mirrored."""

SCALE_WEIGHTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)
"""The weights of MS-SSIM's scales, from the full size down, as published."""

MIN_SIDE_MS_SSIM = 176
"""The smallest side, in pixels, at which SSIM's window of 11 pixels fits into the fifth scale."""


METRICS = (
    Metric(
        "psnr", "PSNR", "The peak signal-to-noise ratio of reconstructions, in decibels. Higher is better.", "dB", 2, True
    ),
    Metric("ms_ssim", "MS-SSIM", "The structural similarity over five scales; 1 is equal. Higher is better.", "", 4, True),
    Metric(
        "ssim", "SSIM", "The structural similarity of reconstructions and images; 1 is equal. Higher is better.", "", 4, True
    ),
)


@dataclass(frozen=True)
class ReconstructionQuality:
    """How similar reconstructions are to their images.

    Arguments:
        psnr: The peak signal-to-noise ratio, in decibels.
        ssim: The structural similarity, 1 for equal images. None for sides below 2 pixels.
        ms_ssim: The structural similarity over five scales, 1 for equal images. None for sides below 176 pixels.
    """

    psnr: Estimate
    ssim: Estimate | None
    ms_ssim: Estimate | None

    def to_data(self) -> dict[str, Any]:
        """Returns the values that exist as a dictionary for JSON."""
        estimates = {"psnr": self.psnr, "ssim": self.ssim, "ms_ssim": self.ms_ssim}
        return {name: estimate.to_data() for name, estimate in estimates.items() if estimate is not None}


def reconstruction_quality(model: Model, images: ImageSet) -> ReconstructionQuality:
    """Compares images with their reconstructions."""
    side = min(images.shape[1:])
    measures = {"psnr": psnr}
    measures |= {"ssim": ssim} if side >= MIN_SIDE_SSIM else {}
    measures |= {"ms_ssim": ms_ssim} if side >= MIN_SIDE_MS_SSIM else {}
    values: dict[str, list[Tensor]] = {name: [] for name in measures}
    for pixels, labels in batches(model, images, f"reconstructing {len(images):,} images"):
        reconstruction = require_finite(model.reconstruct(pixels, labels), "the reconstructions").clamp(0, 1)
        x = to_unit_interval(pixels)
        for name, measure in measures.items():
            values[name].append(measure(reconstruction, x))

    def mean(name: str) -> Estimate:
        return mean_over_images(torch.cat(values[name]), "dB" if name == "psnr" else "1 is equal", space=PIXELS)

    return ReconstructionQuality(
        psnr=mean("psnr"),
        ssim=mean("ssim") if "ssim" in measures else None,
        ms_ssim=mean("ms_ssim") if "ms_ssim" in measures else None,
    )


def psnr(a: Tensor, b: Tensor) -> Tensor:
    """Returns the peak signal-to-noise ratio in decibels, with shape (B), of images in [0, 1] of shape (B, C, H, W).

    It is at most 100 dB, the value for equal images.
    """
    from torchmetrics.functional.image import peak_signal_noise_ratio  # heavy: it imports scipy

    ratio: Tensor = peak_signal_noise_ratio(a, b, data_range=1.0, dim=(1, 2, 3), reduction="none")
    return ratio.clamp(max=MAX_PSNR)


def ssim(a: Tensor, b: Tensor) -> Tensor:
    """Returns the structural similarity, with shape (B), of images in [0, 1] of shape (B, C, H, W), at least 2 x 2."""
    from torchmetrics.functional.image import structural_similarity_index_measure  # heavy

    side = min(a.shape[-2:])
    sigma = min(WINDOW_SIGMA, (side - 1) / 3.5)  # the window reaches 3.5 sigma to each side, over mirrored borders
    ratio = structural_similarity_index_measure(a, b, sigma=sigma, data_range=1.0, reduction="none")
    assert isinstance(ratio, Tensor)  # a tuple only if the full map is requested
    return ratio.reshape(len(a))


def ms_ssim(a: Tensor, b: Tensor) -> Tensor:
    """Returns the structural similarity over five scales, with shape (B), of images in [0, 1] of shape (B, C, H, W).

    Sides are at least 176 pixels. The smallest scale is compared over mirrored borders, as in :func:`ssim`; the others only
    where the window lies inside the image.
    """
    from torchmetrics.functional.image import multiscale_structural_similarity_index_measure  # heavy

    ratio = multiscale_structural_similarity_index_measure(
        a, b, sigma=WINDOW_SIGMA, data_range=1.0, betas=SCALE_WEIGHTS, reduction="none"
    )
    assert isinstance(ratio, Tensor)
    return ratio.reshape(len(a))
