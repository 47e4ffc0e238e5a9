"""An encoder of one's own: patches of the image, embedded and mixed by self-attention, averaged to features.

python examples/own_encoder.py
vae train digits --plugin examples/own_encoder.py --set "model.encoder={name: patches, width: 64}"
"""

from pathlib import Path

import torch
from torch import Tensor, nn

import vaekit
from vaekit.networks import ENCODERS, Encoder


@ENCODERS.register("patches")
class PatchEncoder(Encoder):
    def __init__(self, shape: tuple[int, int, int], context_dim: int = 0, patch: int = 2, width: int = 64) -> None:
        super().__init__()
        self.shape, self.context_dim, self.patch, self.width = shape, context_dim, patch, width
        self.num_features = width + context_dim
        channels, height, image_width = shape
        self.embed = nn.Conv2d(channels, width, patch, stride=patch)
        self.positions = nn.Parameter(0.02 * torch.randn((height // patch) * (image_width // patch), width))
        self.mix = nn.TransformerEncoderLayer(width, nhead=4, dim_feedforward=2 * width, dropout=0.0, batch_first=True)

    def forward(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        patches = self.embed(x).flatten(2).transpose(1, 2) + self.positions  # (B, number of patches, width)
        features = self.mix(patches).mean(1)
        return features if context is None else torch.cat([features, context], -1)


def main(out: Path = Path("runs/own-encoder"), epochs: int = 50) -> vaekit.RunFolder:
    return vaekit.train("digits", out=out, epochs=epochs, force=True, **{"model.encoder": {"name": "patches"}})


if __name__ == "__main__":
    main()
