"""PSNR of a run's reconstructions, of the mean image, and of PCA with as many components as the model has latents.

Run it as ``python -m benchmarks.linear runs/pokemon-128``. Mean image and PCA are fitted to the run's training images. PSNR
is the mean over the validation images and over the test images, in decibels, with its standard error.
"""

import argparse

import torch
from sklearn.decomposition import PCA
from torch import Tensor

from vaekit.core.units import to_unit_interval
from vaekit.evaluation.samples.reconstruction import psnr, reconstruction_quality
from vaekit.experiment.prepare import load_splits
from vaekit.runs.run_folder import RunFolder


def main() -> None:
    parser = argparse.ArgumentParser("python -m benchmarks.linear", description=__doc__.partition("\n")[0])
    parser.add_argument("run", help="a run folder")
    run = RunFolder(parser.parse_args().run)
    recipe, model = run.recipe, run.model
    splits = load_splits(recipe.data, recipe.training.seed)
    train = to_unit_interval(splits.train.pixels).flatten(1)
    num_components = min(model.latent_dim, len(train) - 1)
    pca = PCA(num_components, svd_solver="randomized", random_state=0).fit(train.numpy())
    print(f"{'PSNR in dB':<24}{'mean image':>14}{f'PCA, {num_components}':>14}{recipe.name:>16}")
    for images in (splits.valid, splits.test):
        x = to_unit_interval(images.pixels)
        flat = x.flatten(1)
        projected = torch.from_numpy(pca.inverse_transform(pca.transform(flat.numpy())))
        values = [
            format_psnr(reconstructions.reshape(x.shape), x)
            for reconstructions in (train.mean(0).expand_as(flat), projected)
        ]
        quality = reconstruction_quality(model, images).psnr
        values.append(f"{quality.value:.2f} ± {quality.standard_error or 0:.2f}")
        print(f"{f'{len(images):,} {images.split} images':<24}{values[0]:>14}{values[1]:>14}{values[2]:>16}")


def format_psnr(reconstructions: Tensor, x: Tensor) -> str:
    """Returns the mean PSNR of reconstructions and its standard error, as text."""
    values = psnr(reconstructions.float().clamp(0, 1), x)
    return f"{values.mean():.2f} ± {values.std() / len(values) ** 0.5:.2f}"


if __name__ == "__main__":
    main()
