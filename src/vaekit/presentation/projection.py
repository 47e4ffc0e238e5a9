"""Projections of the posterior means to the plane of a latent map: PCA, t-SNE and UMAP.

References:
    | Visualizing Data using t-SNE (van der Maaten & Hinton, 2008), https://www.jmlr.org/papers/v9/vandermaaten08a.html
    | UMAP: Uniform Manifold Approximation and Projection (McInnes et al., 2018), https://arxiv.org/abs/1802.03426
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from vaekit.core.errors import ModelError
from vaekit.core.progress import working
from vaekit.evaluation.finiteness import require_finite
from vaekit.evaluation.latents.encodings import Encodings

Method = Literal["pca", "tsne", "umap"]
NAMES = {"tsne": "t-SNE", "umap": "UMAP"}


@dataclass(frozen=True)
class Projection:
    """Posterior means on a plane, or on a line if there is one latent.

    Arguments:
        points: The coordinates, with shape (N, 2), or (N, 1) if there is one latent.
        axis_names: The name of each coordinate.
        title: A description of the projection.
        covariances: The covariance of each posterior on the plane, with shape (N, 2, 2); None if the projection is not
            linear or has one coordinate.
    """

    points: Tensor
    axis_names: list[str]
    title: str
    covariances: Tensor | None


def project(encodings: Encodings, rows: Tensor, method: Method) -> Projection:
    """Projects the posterior means of images; one or two latents are not projected, whatever the method.

    Arguments:
        encodings: The posteriors of a set of images.
        rows: The positions of the images to project, with shape (N).
        method: The projection of more than two latents.

    Raises:
        ModelError: If the means are so large that the projection overflows, or UMAP is not installed.
    """
    means, dim = encodings.means[rows], encodings.means.shape[1]
    if dim <= 2:
        names = [f"z{d}" for d in range(dim)]
        covariances = _covariances(encodings.stddevs[rows], torch.eye(dim)) if dim == 2 else None
        return Projection(means, names, "posterior means", covariances)
    if method == "pca":
        directions, _, shares = encodings.principal(2)
        points = require_finite((means - encodings.means.mean(0)) @ directions.T, "the projected means of q(z|x)")
        names = [f"principal component {number + 1}, {share:.0%} of the variance" for number, share in enumerate(shares)]
        covariances = _covariances(encodings.stddevs[rows], directions)
        return Projection(points, names, f"posterior means of {dim} latents, by PCA", covariances)
    require_finite(means.square().sum(1), "the squared means of q(z|x)")  # whose differences are distances
    points = torch.from_numpy(_embed(means.numpy(), method))
    names = [f"{NAMES[method]} {number}, no unit" for number in (1, 2)]
    return Projection(points, names, f"posterior means of {dim} latents, by {NAMES[method]}", None)


def _covariances(stddevs: Tensor, directions: Tensor) -> Tensor:
    """The covariances of diagonal Gaussians along directions of shape (2, D), with shape (N, 2, 2)."""
    scaled = stddevs.unsqueeze(1) * directions
    return scaled @ scaled.transpose(1, 2)


def _embed(means: NDArray[np.float32], method: Method) -> NDArray[np.float32]:
    """Embeds points of shape (N, D) in the plane, so that neighbors stay neighbors."""
    if len(means) == 1:
        return np.zeros((1, 2), np.float32)
    with working(f"{NAMES[method]} of {len(means):,} images"):
        if method == "umap":
            try:
                from umap import UMAP
            except ImportError:
                raise ModelError("UMAP is not installed (pip install umap-learn); or use --method tsne or pca") from None
            return np.asarray(UMAP(random_state=0).fit_transform(means), np.float32)
        from sklearn.manifold import TSNE

        perplexity = min(30.0, max(1.0, (len(means) - 1) / 3))
        return np.asarray(TSNE(perplexity=perplexity, init="pca", random_state=0).fit_transform(means), np.float32)
