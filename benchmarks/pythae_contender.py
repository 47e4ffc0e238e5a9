"""Training with pythae 0.1.2 as its documentation shows: own networks, its ``VAE`` and its ``BaseTrainer``.

Pythae feeds gray levels to its cross-entropy and does not binarize, which only makes its life easier. Its trainer is driven
as its ``train`` does, epoch by epoch; evaluation, copies of the best model and checkpoints are left out.
"""

import io
import logging
import tempfile
import time
from contextlib import redirect_stderr

import torch
import torch.nn.functional as F
from pythae.data.preprocessors import DataProcessor
from pythae.models import VAE, VAEConfig
from pythae.models.base.base_utils import ModelOutput
from pythae.models.nn import BaseDecoder, BaseEncoder
from pythae.trainers import BaseTrainer, BaseTrainerConfig
from torch import Tensor, nn

from benchmarks.contenders import BATCH_SIZE, HIDDEN, LATENTS, LEARNING_RATE, PIXELS, Contender, Turn
from vaekit.data import ImageSet


class Encoder(BaseEncoder):
    """Images to mean and log-variance."""

    def __init__(self) -> None:
        super().__init__()
        self.hidden = nn.Linear(PIXELS, HIDDEN)
        self.mu = nn.Linear(HIDDEN, LATENTS)
        self.logvar = nn.Linear(HIDDEN, LATENTS)

    def forward(self, x: Tensor) -> ModelOutput:
        """Encodes images of shape (B, 1, 28, 28)."""
        hidden = F.relu(self.hidden(x.flatten(1)))
        return ModelOutput(embedding=self.mu(hidden), log_covariance=self.logvar(hidden))


class Decoder(BaseDecoder):
    """Latents to images."""

    def __init__(self) -> None:
        super().__init__()
        self.hidden = nn.Linear(LATENTS, HIDDEN)
        self.output = nn.Linear(HIDDEN, PIXELS)

    def forward(self, z: Tensor) -> ModelOutput:
        """Decodes latents of shape (B, 20) to probabilities."""
        logits = self.output(F.relu(self.hidden(z)))
        return ModelOutput(reconstruction=torch.sigmoid(logits).unflatten(-1, (1, 28, 28)))


class Pythae(Contender):
    """Pythae's trainer over its own DataLoader, with its default of no workers."""

    def __init__(self, images: ImageSet) -> None:
        logging.disable(logging.INFO)  # its modules raise their own levels, so that it cannot be hushed by name
        self.folder = tempfile.TemporaryDirectory()  # its trainer makes a folder, whatever one asks for
        processor = DataProcessor()
        dataset = processor.to_dataset(processor.process_data(images.pixels.float() / 255))
        shape = VAEConfig(input_dim=(1, 28, 28), latent_dim=LATENTS, reconstruction_loss="bce")
        self.network = VAE(shape, encoder=Encoder(), decoder=Decoder())
        config = BaseTrainerConfig(
            output_dir=self.folder.name,
            per_device_train_batch_size=BATCH_SIZE,
            learning_rate=LEARNING_RATE,
            no_cuda=True,
        )
        self.trainer = BaseTrainer(self.network, dataset, training_config=config)
        self.trainer.prepare_training()
        self.epoch = 0

    def turn(self) -> Turn:
        """Goes through the images once more."""
        trainer, config = self.trainer, self.trainer.training_config
        self.epoch += 1
        with redirect_stderr(io.StringIO()):  # its progress bar, which stays on as it is for everyone
            started = time.perf_counter()
            trainer.callback_handler.on_epoch_begin(training_config=config, epoch=self.epoch)
            loss = trainer.train_step(self.epoch)
            trainer._schedulers_step(loss)
            trainer.callback_handler.on_epoch_end(training_config=config)
            seconds = time.perf_counter() - started
        return Turn(seconds, loss)
