r"""An autoregressive prior over codes: a transformer that predicts each index from those before it.

.. math:: p(i_1, \dots, i_T | c) = \prod_{t=1}^T p(i_t | i_1, \dots, i_{t-1}, c)

The indices are in raster order, those of one position after each other. The input of step t is the embedding of
:math:`i_{t-1}`, a learned start for t = 1, plus a learned embedding of the position, plus a linear function of the context c
of a class-conditional model. Blocks of causal self-attention and a feed-forward network with normalization before each
follow. Each of the L codebooks has embeddings and output weights of its own.

Sampling computes one step at a time and keeps the keys and values of all steps before it, so it costs as much as one
evaluation of the density. A temperature divides the logits of each step.

References:
    | Attention Is All You Need (Vaswani et al., 2017), https://arxiv.org/abs/1706.03762
    | Taming Transformers for High-Resolution Image Synthesis (Esser et al., 2020), https://arxiv.org/abs/2012.09841
"""

from typing import Annotated, Any

import torch
from pydantic import Field, PositiveInt
from torch import Tensor, nn
from torch.nn import functional

from vaekit.core.errors import ConfigError
from vaekit.distributions.code_priors import CodePrior
from vaekit.distributions.code_vectors import IndexDistribution
from vaekit.distributions.latent_set import FitSchedule, LatentSet

CHUNK_SIZE = 2**13
"""The number of indices whose density is computed at a time where there is no gradient; samples are made by as many."""
INITIAL_STDDEV = 0.02
"""The standard deviation of initial embeddings."""

Cache = list[tuple[Tensor, Tensor]]
"""The keys and values of the steps so far for each block, each with shape (B, heads, T, width / heads)."""


class Block(nn.Module):
    """Causal self-attention and a feed-forward network, each added to its input, which is normalized before.

    Arguments:
        width: The number of features.
        num_heads: The number of heads of the attention.
        dropout: The share of features of each branch that are set to 0 in training.
    """

    def __init__(self, width: int, num_heads: int, dropout: float) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.before_attention, self.before_network = nn.LayerNorm(width), nn.LayerNorm(width)
        self.inputs, self.output = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.network = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width))
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor, cache: tuple[Tensor, Tensor] | None = None, step: int = 0) -> Tensor:
        """Returns features of shape (B, T, width).

        Arguments:
            x: Features of all steps, with shape (B, T, width); with a cache those of one step, with shape (B, 1, width).
            cache: The keys and values of all steps, in which those of this step are written.
            step: The number of steps before this one.
        """
        query, key, value = (
            self.inputs(self.before_attention(x)).unflatten(-1, (3 * self.num_heads, -1)).transpose(1, 2).chunk(3, 1)
        )
        if cache is not None:
            keys, values = cache
            keys[:, :, step], values[:, :, step] = key[:, :, 0], value[:, :, 0]
            key, value = keys[:, :, : step + 1], values[:, :, : step + 1]
        attended = functional.scaled_dot_product_attention(query, key, value, is_causal=cache is None)
        x = x + self.dropout(self.output(attended.transpose(1, 2).flatten(2)))
        result: Tensor = x + self.dropout(self.network(self.before_network(x)))
        return result


class TransformerPrior(CodePrior):
    """An autoregressive transformer over the indices of codes, given the context if the model is conditional.

    Arguments:
        latent_dim: D, the number of latents. Not used.
        context_dim: E, the size of the context.
        shape: The shape of an image (C, H, W). Not used.
        width: The number of features.
        num_blocks: The number of blocks.
        num_heads: The number of heads of the attention, a divisor of the width.
        dropout: The share of features of each branch that are set to 0 in training.

    Raises:
        ConfigError: If ``width`` is not a multiple of ``num_heads``.
    """

    schedule = FitSchedule(steps=6000, batch_size=128, lr=2e-3)
    marginals: Tensor

    def __init__(
        self,
        latent_dim: int,
        context_dim: int = 0,
        shape: tuple[int, ...] | None = None,
        width: PositiveInt = 128,
        num_blocks: PositiveInt = 3,
        num_heads: PositiveInt = 4,
        dropout: Annotated[float, Field(ge=0, lt=1)] = 0.1,
    ) -> None:
        super().__init__(latent_dim, context_dim, shape)
        self.width = width
        self.num_blocks = num_blocks
        self.num_heads = num_heads
        self.dropout = dropout
        if width % num_heads:
            raise ConfigError(f"width {width}: choose a multiple of num_heads, {num_heads}")

    def make_layers(self) -> None:
        """Makes the embeddings, the blocks and the output."""
        self.embedding = nn.Embedding(self.num_levels * self.num_codes, self.width)
        self.places = nn.Parameter(INITIAL_STDDEV * torch.randn(self.length, self.width))
        self.opening = nn.Parameter(INITIAL_STDDEV * torch.randn(self.width))
        self.condition = nn.Linear(self.context_dim, self.width) if self.context_dim else None
        self.drop = nn.Dropout(self.dropout)
        self.blocks = nn.ModuleList(Block(self.width, self.num_heads, self.dropout) for _ in range(self.num_blocks))
        self.normalization = nn.LayerNorm(self.width)
        self.output = nn.Linear(self.width, self.num_levels * self.num_codes)
        nn.init.normal_(self.embedding.weight, std=INITIAL_STDDEV)
        nn.init.zeros_(self.output.weight)  # the uniform distribution
        nn.init.zeros_(self.output.bias)
        self.register_buffer("marginals", torch.full((self.length, self.num_codes), 1 / self.num_codes))

    def indices(self, batch_size: int, context: Tensor | None = None) -> "Autoregressive":
        """Returns the distribution over indices, with batch shape (B) and event shape (T)."""
        return Autoregressive(self, batch_size, None if context is None else context.float())

    @torch.no_grad()
    def start(self, latents: LatentSet, seed: int) -> None:
        """Notes the share of each index over the images that the prior is fitted to."""
        indices, _ = self.codes.indices_of(latents.means)
        counts = torch.stack([index.bincount(minlength=self.num_codes) for index in indices.unbind(-1)])
        self.marginals.copy_(counts / len(indices))

    def logits(self, indices: Tensor, context: Tensor | None) -> Tensor:
        """Returns the logits of each index given those before it, with shape (B, T, K), for indices of shape (B, T)."""
        offsets = self.num_codes * (torch.arange(self.length - 1, device=indices.device) % self.num_levels)
        embedded = self.embedding(indices[:, :-1] + offsets)
        x = torch.cat([self.opening.expand(len(indices), 1, -1), embedded], 1) + self.places + self._shift(context)
        x = self.drop(x)
        for block in self.blocks:
            x = block(x)
        return self._select(self.output(self.normalization(x)), torch.arange(self.length, device=x.device)).float()

    @torch.no_grad()
    def sample(self, num: int, context: Tensor | None, temperature: float) -> Tensor:
        """Samples indices, with shape (B, T), given a context of shape (B, E) or None."""
        size = (num, self.num_heads, self.length, self.width // self.num_heads)
        caches = [(self.places.new_zeros(size), self.places.new_zeros(size)) for _ in self.blocks]
        shift, indices = self._shift(context), self.places.new_zeros((num, self.length), dtype=torch.int64)
        x = self.opening.expand(num, 1, -1)
        for step in range(self.length):
            logits = self._logits_of_step(x + self.places[step] + shift, caches, step)
            indices[:, step] = _sample_of(logits, temperature)
            x = self.embedding(indices[:, step : step + 1] + self.num_codes * (step % self.num_levels))
        return indices

    def _logits_of_step(self, x: Tensor, caches: Cache, step: int) -> Tensor:
        for block, cache in zip(self.blocks, caches, strict=True):
            x = block(x, cache, step)
        places = torch.tensor([step], device=x.device)
        return self._select(self.output(self.normalization(x)), places).float()[:, 0]

    def _shift(self, context: Tensor | None) -> Tensor | float:
        """What the context adds to the input of each step."""
        return 0.0 if self.condition is None or context is None else self.condition(context).unsqueeze(1)

    def _select(self, logits: Tensor, places: Tensor) -> Tensor:
        """The logits of the codebook of each place, with shape (B, T, K)."""
        if self.num_levels == 1:
            return logits
        levels = logits.unflatten(-1, (self.num_levels, self.num_codes))
        chosen = (places % self.num_levels).reshape(1, -1, 1, 1).expand(len(logits), -1, 1, self.num_codes)
        selected: Tensor = levels.gather(2, chosen).squeeze(2)
        return selected


class Autoregressive(IndexDistribution):
    """The distribution of a :class:`TransformerPrior` over sequences of indices.

    Arguments:
        prior: The network.
        batch_size: B.
        context: The context, with shape (B, E), or None.
        temperature: What the logits of sampled indices are divided by.
    """

    def __init__(self, prior: TransformerPrior, batch_size: int, context: Tensor | None, temperature: float = 1.0) -> None:
        self.prior = prior
        self.context = context
        self.temperature = temperature
        super().__init__(torch.Size([batch_size]), torch.Size([prior.length]), validate_args=False)

    @property
    def marginals(self) -> Tensor:
        """The shares of each index over the images that the prior was fitted to, with shape (T, K); uniform before."""
        return self.prior.marginals

    def tempered(self, temperature: float) -> "Autoregressive":
        """Returns the distribution whose samples have the logits of each step divided by a temperature."""
        return Autoregressive(self.prior, self.batch_shape[0], self.context, temperature * self.temperature)

    def sample(self, sample_shape: Any = ()) -> Tensor:
        """Samples indices, with shape (*sample_shape, B, T)."""
        shape = self._extended_shape(torch.Size(sample_shape))
        num = shape[:-1].numel()
        context = self._context_of(shape[:-1])
        chunks = range(0, num, max(1, CHUNK_SIZE // self.prior.length))
        parts = [self._sample(num, context, start, chunks.step) for start in chunks]
        return torch.cat(parts).reshape(shape)

    def log_prob(self, value: Tensor) -> Tensor:
        """Returns the log-probability of sequences of shape (*, B, T) in nats, with shape (*, B)."""
        shape = value.shape[:-1]
        flat, context = value.flatten(0, -2), self._context_of(shape)
        size = len(flat) if torch.is_grad_enabled() else max(1, CHUNK_SIZE // self.prior.length)
        contexts = [None] * len(flat.split(size)) if context is None else context.split(size)
        parts = [self._log_prob(*pair) for pair in zip(flat.split(size), contexts, strict=True)]
        return torch.cat(parts).reshape(shape)

    def _log_prob(self, indices: Tensor, context: Tensor | None) -> Tensor:
        logits = self.prior.logits(indices, context)
        return -functional.cross_entropy(logits.transpose(1, 2), indices, reduction="none").sum(-1)

    def _sample(self, num: int, context: Tensor | None, start: int, size: int) -> Tensor:
        part = None if context is None else context[start : start + size]
        return self.prior.sample(min(size, num - start), part, self.temperature)

    def _context_of(self, batch_shape: torch.Size) -> Tensor | None:
        """The context of each sequence of a batch of shape (*, B), with shape (N, E)."""
        return None if self.context is None else self.context.expand(*batch_shape, -1).reshape(batch_shape.numel(), -1)


def _sample_of(logits: Tensor, temperature: float) -> Tensor:
    """Samples an index of each row of logits of shape (B, K), with shape (B); the most likely ones at temperature 0."""
    if temperature == 0:
        return logits.argmax(-1)
    return torch.multinomial((logits / temperature).softmax(-1), 1).squeeze(-1)
