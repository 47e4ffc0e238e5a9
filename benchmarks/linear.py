"""What a linear model makes of a run's images: PSNR of the mean image and of PCA with as many components as latents.

Run it as ``python -m benchmarks.linear runs/pokemon-128``. Both are fitted to the images that the run learned from; PSNR
is the mean over images, in decibels, on those held out to validate and on test images, beside the run's own.
"""

import argparse

import torch
from sklearn.decomposition import PCA
from torch import Tensor

from vaekit.core.units import to_unit_interval
from vaekit.evaluation.samples.reconstruction import psnr, reconstruction_quality
from vaekit.experiment.train import load_splits
from vaekit.runs.run_folder import RunFolder


def main() -> None:
    parser = argparse.ArgumentParser("python -m benchmarks.linear", description=__doc__.partition("\n")[0])
    parser.add_argument("run", help="a run folder")
    run = RunFolder(parser.parse_args().run)
    recipe, model = run.recipe, run.model
    splits = load_splits(recipe.data, recipe.training.seed)
    train = to_unit_interval(splits.train.pixels).flatten(1)
    num = min(model.latent_dim, len(train) - 1)
    pca = PCA(num, svd_solver="randomized", random_state=0).fit(train.numpy())
    print(f"{'PSNR in dB':<24}{'mean image':>14}{f'PCA, {num}':>14}{recipe.name:>16}")
    for images in (splits.valid, splits.test):
        x = to_unit_interval(images.pixels)
        flat = x.flatten(1)
        linear = torch.from_numpy(pca.inverse_transform(pca.transform(flat.numpy())))
        values = [told(train.mean(0).expand_as(flat).reshape(x.shape), x), told(linear.reshape(x.shape), x)]
        quality = reconstruction_quality(model, images).psnr
        values.append(f"{quality.value:.2f} ± {quality.standard_error or 0:.2f}")
        print(f"{f'{len(images):,} {images.split} images':<24}{values[0]:>14}{values[1]:>14}{values[2]:>16}")


def told(reconstructions: Tensor, x: Tensor) -> str:
    """The mean PSNR of reconstructions with its standard error."""
    values = psnr(reconstructions.float().clamp(0, 1), x)
    return f"{values.mean():.2f} ± {values.std() / len(values) ** 0.5:.2f}"


if __name__ == "__main__":
    main()
