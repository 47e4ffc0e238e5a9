"""Training with pythae 0.1.2 as in its documentation: user-defined networks, its ``VAE`` and its ``BaseTrainer``.

Pythae computes the cross-entropy of gray pixels and does not binarize them, which saves it some work. The benchmark repeats
the steps of the trainer's ``train`` for each epoch, without evaluation, copies of the best model and checkpoints.
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

from benchmarks.training_methods import BATCH_SIZE, HIDDEN, LATENT_DIM, LEARNING_RATE, NUM_PIXELS, Epoch, TrainingMethod
from vaekit.data import ImageSet


class Encoder(BaseEncoder):
    """From images to mean and log-variance."""

    def __init__(self) -> None:
        super().__init__()
        self.hidden = nn.Linear(NUM_PIXELS, HIDDEN)
        self.mu = nn.Linear(HIDDEN, LATENT_DIM)
        self.logvar = nn.Linear(HIDDEN, LATENT_DIM)

    def forward(self, x: Tensor) -> ModelOutput:
        """Encodes images of shape (B, 1, 28, 28)."""
        hidden = F.relu(self.hidden(x.flatten(1)))
        return ModelOutput(embedding=self.mu(hidden), log_covariance=self.logvar(hidden))


class Decoder(BaseDecoder):
    """From latents to images."""

    def __init__(self) -> None:
        super().__init__()
        self.hidden = nn.Linear(LATENT_DIM, HIDDEN)
        self.output = nn.Linear(HIDDEN, NUM_PIXELS)

    def forward(self, z: Tensor) -> ModelOutput:
        """Decodes latents of shape (B, 20) to probabilities."""
        logits = self.output(F.relu(self.hidden(z)))
        return ModelOutput(reconstruction=torch.sigmoid(logits).unflatten(-1, (1, 28, 28)))


class PythaeTrainer(TrainingMethod):
    """Pythae's trainer with its DataLoader, which has no workers by default."""

    def __init__(self, images: ImageSet) -> None:
        logging.disable(logging.INFO)  # pythae's modules set their own log levels
        self.folder = tempfile.TemporaryDirectory()  # the trainer always creates an output folder
        processor = DataProcessor()
        dataset = processor.to_dataset(processor.process_data(images.pixels.float() / 255))
        model_config = VAEConfig(input_dim=(1, 28, 28), latent_dim=LATENT_DIM, reconstruction_loss="bce")
        self.network = VAE(model_config, encoder=Encoder(), decoder=Decoder())
        config = BaseTrainerConfig(
            output_dir=self.folder.name,
            per_device_train_batch_size=BATCH_SIZE,
            learning_rate=LEARNING_RATE,
            no_cuda=True,
        )
        self.trainer = BaseTrainer(self.network, dataset, training_config=config)
        self.trainer.prepare_training()
        self.epoch = 0

    def train_epoch(self) -> Epoch:
        """Trains and times one epoch."""
        trainer, config = self.trainer, self.trainer.training_config
        self.epoch += 1
        with redirect_stderr(io.StringIO()):  # hides the progress bar, which runs as it does for a user
            start = time.perf_counter()
            trainer.callback_handler.on_epoch_begin(training_config=config, epoch=self.epoch)
            loss = trainer.train_step(self.epoch)
            trainer._schedulers_step(loss)
            trainer.callback_handler.on_epoch_end(training_config=config)
            seconds = time.perf_counter() - start
        return Epoch(seconds, loss)
