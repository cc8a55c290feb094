"""Debiasing of finished vectors: what their language adds to them is estimated and taken out.

Nothing is trained, so a trained system should do better. `fit` sees vectors of training-side texts,
`apply` any vectors of the same encoder. With x a vector and l its language:

``centre`` (Libovický et al. 2020, arXiv:2004.05160): x - mean_l. The mean of all languages is not
added back, as in the source, so what all languages share is taken out too.

``centre-sides``: the same with a mean for each language and side, so that what questions have in
common, and what candidates have, is taken out too.

``lir`` (language information removal; Yang et al. 2021, arXiv:2109.04727): x - U_l U_lᵀ x, where
U_l are the first left singular vectors of the matrix, not centred, whose columns are the language's
vectors.

``leace`` (Belrose et al. 2023, arXiv:2306.03819): x - W⁺ Q W (x - mean), where W is
the pseudo-inverse of the square root of Cov(x) and Q projects onto the columns of W Cov(x, one-hot
language). It is the least change (in mean square, for every norm that comes from an inner product)
after which no linear classifier tells the languages of the fitted vectors better than a constant
does. It is the same map for all languages, so a vector's own language need not be known.

All are fitted and computed in float64. `apply` scales the result to unit length again, which the
sources leave to the cosine; after that LEACE's guarantee holds in good approximation only.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from bias_bench.config.kinds import DebiasMethod
from bias_bench.encoders.embeds import Side
from bias_bench.errors import UsageError

LIR_RANK = 1  # Yang et al. find little difference between 1 and 2 on LAReQA

# of the whitened cross-covariance, whose scale is 1; sampling alone gives 1/√texts
_NO_DIRECTION = 1e-7
_NO_LENGTH = 1e-6  # of unit vectors in float32: what is shorter is rounding


class Debias(NamedTuple):
    """The affine map x - shift_l - (x read_l) write_lᵀ of each group of texts l (`group_code`).

    `groups` int [groups], sorted; `shift` float64 [groups, dimensions]; `read` and `write` float64
    [groups, dimensions, rank], where rank 0 takes no direction out. LEACE has one map for all
    groups, in row 0.
    """

    method: DebiasMethod
    groups: np.ndarray
    shift: np.ndarray
    read: np.ndarray
    write: np.ndarray


def group_code(method: DebiasMethod, language: int, side: Side) -> int:
    """The group that a method treats a text of this language (from 0) and side as one of."""
    return 2 * language + (side == "query") if method == "centre-sides" else language


def fit(
    method: DebiasMethod, vectors: np.ndarray, groups: np.ndarray, rank: int = LIR_RANK
) -> Debias:
    """Fit on vectors [n, dimensions] with the codes [n] of their groups (`group_code`).

    `rank` is the number of LIR's directions. UsageError without vectors, and for LEACE in fewer
    than two languages.
    """
    codes = np.unique(groups)
    if len(codes) == 0:
        raise UsageError("debiasing needs vectors to fit on; there are none")
    x = vectors.astype(np.float64)
    if method == "leace":
        return _leace(x, groups)
    of_group = [x[groups == code] for code in codes]
    size = x.shape[1]
    if method in ("centre", "centre-sides"):
        none = np.zeros((len(codes), size, 0))
        return Debias(method, codes, np.stack([part.mean(axis=0) for part in of_group]), none, none)
    basis = np.zeros((len(codes), size, min(rank, size)))
    for row, part in enumerate(of_group):
        directions = np.linalg.svd(part, full_matrices=False).Vh[: basis.shape[2]]
        basis[row, :, : len(directions)] = directions.T
    return Debias(method, codes, np.zeros((len(codes), size)), basis, basis)


def _leace(x: np.ndarray, languages: np.ndarray) -> Debias:
    codes, rows = np.unique(languages, return_inverse=True)
    if len(codes) < 2:
        raise UsageError("debias leace needs vectors in two languages; there is one")
    mean = x.mean(axis=0)
    centred = x - mean
    sums = np.zeros((len(codes), x.shape[1]))
    np.add.at(sums, rows, centred)
    variances, axes = np.linalg.eigh(centred.T @ centred / len(x))
    varied = variances > variances[-1] * len(variances) * np.finfo(np.float64).eps
    scales, axes = np.sqrt(variances[varied]), axes[:, varied]
    # in the axes of the covariance W and W⁺ are diagonal; a row of `sums` for each language is
    # Σ_xz times n, and the last is minus the sum of the others
    whitened = (axes.T @ sums[:-1].T / len(x)) / scales[:, None]
    directions, strengths, _ = np.linalg.svd(whitened, full_matrices=False)
    directions = directions[:, strengths > _NO_DIRECTION]
    read, write = axes @ (directions / scales[:, None]), axes @ (directions * scales[:, None])
    return Debias("leace", codes, -(mean @ read @ write.T)[None], read[None], write[None])


def erase(debias: Debias, vectors: np.ndarray, group: int) -> np.ndarray:
    """Vectors [n, dimensions] of one group without it, float64, at the length they then have.

    UsageError when nothing was fitted for the group, except with LEACE.
    """
    row = 0
    if debias.method != "leace":
        row = int(np.searchsorted(debias.groups, group))
        if row == len(debias.groups) or debias.groups[row] != group:
            raise UsageError(f"debias {debias.method} was fitted on no text of group {group}")
    x = vectors.astype(np.float64)
    return x - debias.shift[row] - (x @ debias.read[row]) @ debias.write[row].T


def apply(debias: Debias, vectors: np.ndarray, group: int) -> np.ndarray:
    """Unit vectors float32 [n, dimensions] of one group, debiased.

    A vector of which nothing is left becomes zero.
    """
    erased = erase(debias, vectors, group)
    lengths = np.linalg.norm(erased, axis=1, keepdims=True)
    nothing = lengths < _NO_LENGTH
    erased[nothing[:, 0]] = 0
    return (erased / np.where(nothing, 1, lengths)).astype(np.float32)
