r"""How well pictures survive the way through the latents: PSNR and SSIM, by ``torchmetrics``.

.. math:: \mathrm{PSNR} = -10 \log_{10} \mathrm{MSE} \quad \text{for pixels in } [0, 1]

Both compare a picture with the mean of p(x|z) at the mean of q(z|x); reported is the mean over pictures.

References:
    | Image Quality Assessment: From Error Visibility to Structural Similarity (Wang et al., 2004),
      https://doi.org/10.1109/TIP.2003.819861
"""

import torch
from torch import Tensor
from torchmetrics.functional.image import peak_signal_noise_ratio, structural_similarity_index_measure

from vaekit.data import ImageSet
from vaekit.evaluation.estimates import Estimate, batches, mean_over_pictures
from vaekit.models import VAE
from vaekit.units import to_unit_interval

WINDOW_SIGMA = 1.5
"""The width of SSIM's Gaussian in pixels, as published; its window of 11 pixels shrinks for smaller pictures."""

SMALLEST_SIDE = 2
"""The smallest side, in pixels, whose border can be mirrored."""


def reconstruction_quality(model: VAE, images: ImageSet) -> dict[str, Estimate]:
    """Returns ``psnr`` in decibels and, for pictures of 2 x 2 pixels and more, ``ssim`` (1 for equal pictures)."""
    has_ssim = min(images.shape[1:]) >= SMALLEST_SIDE
    psnr_values, ssim_values = [], []
    for pixels, labels in batches(model, images):
        reconstruction, x = model.reconstruct(pixels, labels).clamp(0, 1), to_unit_interval(pixels)
        psnr_values.append(psnr(reconstruction, x))
        if has_ssim:
            ssim_values.append(ssim(reconstruction, x))
    quality = {"psnr": mean_over_pictures(torch.cat(psnr_values), "dB")}
    return quality | ({"ssim": mean_over_pictures(torch.cat(ssim_values), "1 is equal")} if has_ssim else {})


def psnr(a: Tensor, b: Tensor) -> Tensor:
    """Returns the peak signal-to-noise ratio in decibels, with shape (B), of pictures in [0, 1] of shape (B, C, H, W)."""
    ratio: Tensor = peak_signal_noise_ratio(a, b, data_range=1.0, dim=(1, 2, 3), reduction="none")
    return ratio


def ssim(a: Tensor, b: Tensor) -> Tensor:
    """Returns the structural similarity, with shape (B), of pictures in [0, 1] of shape (B, C, H, W), 2 x 2 at least."""
    side = min(a.shape[-2:])
    sigma = min(WINDOW_SIGMA, (side - 1) / 3.5)  # a window reaches 3.5 sigma to each side, over borders that are mirrored
    ratio = structural_similarity_index_measure(a, b, sigma=sigma, data_range=1.0, reduction="none")
    assert isinstance(ratio, Tensor)  # a tuple only where the full map is asked for
    return ratio.reshape(len(a))
