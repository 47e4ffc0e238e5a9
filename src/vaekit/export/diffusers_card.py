"""The page that lies beside a model for ``diffusers``: how to open it, and what its numbers mean."""

from collections.abc import Mapping, Sequence
from typing import Any

CARD = """---
library_name: diffusers
tags: [vae, autoencoder, vaekit]
---

# A variational autoencoder for diffusers

{lines}

```python
from diffusers import AutoencoderKL
vae = AutoencoderKL.from_pretrained("FOLDER")
latents = vae.encode(2 * images - 1).latent_dist.sample()    # images (B, {channels}, {height}, {width}) on [0, 1]
images = (vae.decode(latents).sample / 2 + 0.5).clamp(0, 1)  # latents (B, {latent_channels}, {rows}, {columns})
```

`FOLDER` is this folder, or the id under which it is uploaded.

## The numbers of `config.json`

They are moments of samples of the posterior over the images named above, all points and, for the first two, all channels.

| key | value | meaning |
|---|---|---|
| `shift_factor` | {shift_factor:.6g} | the mean of the latents |
| `scaling_factor` | {scaling_factor:.6g} | 1 / standard deviation of the latents |
| `latents_mean` | {latents_mean} | the mean of each channel |
| `latents_std` | {latents_std} | the standard deviation of each channel |

A diffusion model wants latents of unit variance. Choose **one** of

```python
scaled = (latents - vae.config.shift_factor) * vae.config.scaling_factor  # all channels alike; some code has no shift
scaled = (latents - mean) / std  # each channel; mean and std: latents_mean and latents_std as tensors of shape (1, c, 1, 1)
```

and undo it before `vae.decode`. Code that uses `latents_mean`, `latents_std` and `scaling_factor` together, as that for
Stable Diffusion XL does, gets a standard deviation of `scaling_factor`; for 1 call
`vae.register_to_config(scaling_factor=1.0)`.

## What differs from the model in vaekit

- Images are in [-1, 1] here. What `decode` returns is not clipped; vaekit clips it to the unit interval.
- Log-variances are clipped to [-30, 20] here. Those of vaekit are the same within that range, and bounded smoothly beyond.
- The prior and the variance of p(x|z) are left out: there is no ELBO here.
"""


def card(config: Mapping[str, Any], lines: Sequence[str]) -> str:
    """Returns the page, as Markdown.

    Arguments:
        config: The configuration of ``AutoencoderKL``.
        lines: What came of the export, one fact each.
    """
    sides = config["sample_size"] if isinstance(config["sample_size"], list) else [config["sample_size"]] * 2
    factor = 2 ** (len(config["block_out_channels"]) - 1)
    return CARD.format(
        lines="\n".join(f"- {line}" for line in lines),
        channels=config["in_channels"],
        height=sides[0],
        width=sides[1],
        rows=sides[0] // factor,
        columns=sides[1] // factor,
        latent_channels=config["latent_channels"],
        shift_factor=config["shift_factor"],
        scaling_factor=config["scaling_factor"],
        latents_mean=", ".join(f"{value:.5g}" for value in config["latents_mean"]),
        latents_std=", ".join(f"{value:.5g}" for value in config["latents_std"]),
    )
