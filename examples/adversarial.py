"""A discriminator trained beside the decoder: the decoder's mean images shall not be told from real ones.

    decoder:        loss of the objective + weight * softplus(-D(reconstruction))
    discriminator:  softplus(D(reconstruction)) + softplus(-D(image))

Source: Autoencoding beyond pixels using a learned similarity metric (Larsen et al., 2016), https://arxiv.org/abs/1512.09300

    python examples/adversarial.py
    vae train digits --plugin examples/adversarial.py --set "step={name: adversarial, weight: 2.0}"
"""

from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

import vaekit
from vaekit.core.terms import StepContext
from vaekit.data import Batch
from vaekit.training import STEPS, Step, StepSetup


@STEPS.register("adversarial")
class AdversarialStep(Step):
    def __init__(self, setup: StepSetup, weight: float = 1.0, lr: float = 5e-4) -> None:
        super().__init__(setup)
        self.weight, self.lr = weight, lr
        channels = self.model.shape[0]
        layers = [nn.Conv2d(channels, 32, 3, 2, 1), nn.SiLU(), nn.Conv2d(32, 64, 3, 2, 1), nn.SiLU(), nn.Flatten()]
        self.discriminator = nn.Sequential(*layers, nn.LazyLinear(1)).to(self.model.device)
        self.discriminator(torch.zeros(1, *self.model.shape, device=self.model.device))  # sets the shape of its last layer
        self.modules["discriminator"] = self.discriminator
        self.optimizers["discriminator"] = torch.optim.Adam(self.discriminator.parameters(), lr, (0.5, 0.999))

    def update(self, batch: Batch, context: StepContext) -> dict[str, Tensor]:
        terms = self.model(batch.x, self.labels(batch))
        loss = self.objective(terms, context)
        reconstructions = terms.px.mean[0]
        realism = F.softplus(-self.discriminator(reconstructions)).mean()
        norm = self.descend(loss.value + self.weight * realism)
        fake, real = self.discriminator(reconstructions.detach()), self.discriminator(terms.x)
        detection = F.softplus(fake).mean() + F.softplus(-real).mean()
        self.descend(detection, "discriminator")
        logs = {"loss": loss.value, **loss.logs, "realism": realism, "discriminator": detection, "grad_norm": norm}
        return {name: value.detach() for name, value in logs.items()}


def main(out: Path = Path("runs/adversarial"), epochs: int = 50) -> vaekit.RunFolder:
    return vaekit.train("digits", out=out, epochs=epochs, force=True, step={"name": "adversarial"})


if __name__ == "__main__":
    main()
