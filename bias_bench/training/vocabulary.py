"""Training on a part of the vocabulary: the word embeddings that the training texts look up.

Multilingual vocabularies are mostly embeddings that a training set never looks up; without them
gradients and an optimizer's state are several times smaller. The tokenizer and its token ids stay
the backbone's: `KeptRows` stands in for the whole table and knows the row of each id, and a text
that needs another row is an error. Afterwards the trained rows go back into the whole table, so
that an encoder that is saved or evaluated has all of its vocabulary.
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import chain, islice
from typing import Any, NamedTuple

import numpy as np
import torch

from bias_bench.encoders.backbone import Loaded
from bias_bench.errors import BiasBenchError

_CHUNK = 2048  # texts tokenized at a time, so that a stream of texts is never held whole


class KeptRows(torch.nn.Embedding):
    """The rows `ids` int64 [rows], ascending, of an embedding table, looked up by the ids there."""

    places: torch.Tensor

    def __init__(self, table: torch.nn.Embedding, ids: np.ndarray) -> None:
        kept = torch.from_numpy(ids).to(table.weight.device)
        super().__init__(len(ids), table.embedding_dim, _weight=table.weight.detach()[kept])
        places = torch.full((table.num_embeddings,), -1, device=kept.device)
        places[kept] = torch.arange(len(ids), device=kept.device)
        self.register_buffer("places", places, persistent=False)
        self.num_embeddings = table.num_embeddings  # the ids that it knows of, kept or not

    def rows(self, ids: torch.Tensor) -> torch.Tensor:
        """Rows of `weight` for token ids, int64 of the same shape; BiasBenchError for others."""
        rows = self.places[ids]
        if (rows < 0).any():
            missing = ids[rows < 0][0].item()
            raise BiasBenchError(
                f"token {missing} is not in the trimmed vocabulary: the text was not there when it "
                "was trimmed; --set training.trim_vocabulary=never"
            )
        return rows

    def forward(self, input: torch.Tensor) -> torch.Tensor:  # noqa: A002 - the name in torch
        return torch.nn.functional.embedding(self.rows(input), self.weight)


def table_rows(table: Any, ids: torch.Tensor) -> torch.Tensor:
    """Rows of ``table.weight`` that token ids stand for, where `table` is trimmed or whole."""
    return table.rows(ids) if isinstance(table, KeptRows) else ids


class Trimmed(NamedTuple):
    """A model that has `KeptRows` in place of `table`; `used` int64, ascending, are ids of pieces
    of the texts.
    """

    model: Any
    table: torch.nn.Embedding
    used: np.ndarray

    @property
    def rows(self) -> int:
        """How many rows the model has while it is trimmed."""
        return len(self.model.get_input_embeddings().weight)

    def put_back(self) -> None:
        """Give the model its whole table again, with the rows of the pieces used as they are now.

        All other rows are as they were before. The model is on the table's device afterwards.
        """
        kept, device = self.model.get_input_embeddings(), self.table.weight.device
        ids = torch.from_numpy(self.used)
        with torch.no_grad():
            trained = kept.weight[kept.rows(ids.to(kept.weight.device))]
            self.table.weight[ids.to(device)] = trained.to(device)
        self.model.set_input_embeddings(self.table)
        self.model.to(device)


def trim_vocabulary(loaded: Loaded, texts: Iterable[str]) -> Trimmed:
    """Leave the model, in place, only the rows that `texts` (with their prefixes) look up.

    Vectors of `texts` stay as they are, bit for bit. Raises BiasBenchError, and changes nothing,
    where the model's word embeddings are not one plain table, and without texts.
    """
    model, table = loaded.model, loaded.model.get_input_embeddings()
    if type(table) is not torch.nn.Embedding:  # a subclass may do more than look up
        raise BiasBenchError(
            f"this model's word embeddings are a {type(table).__name__}, not a plain table; "
            "its vocabulary cannot be trimmed"
        )
    used = used_ids(loaded.tokenizer, texts)
    kept = np.union1d(used, [loaded.tokenizer.pad_token_id])
    if kept[-1] >= table.num_embeddings:
        raise BiasBenchError(
            f"the tokenizer gives token {kept[-1]:,}, but the model has only "
            f"{table.num_embeddings:,} embeddings; they do not belong together"
        )
    model.set_input_embeddings(KeptRows(table, kept))
    if any(parameter is table.weight for parameter in model.parameters()):
        model.set_input_embeddings(table)
        raise BiasBenchError(
            "this model uses its word embeddings in two places; its vocabulary cannot be trimmed"
        )
    return Trimmed(model, table, used)


def used_ids(tokenizer: Any, texts: Iterable[str]) -> np.ndarray:
    """Ids, int64 ascending, of all pieces of `texts`, however long, and of their special tokens."""
    stream, used = iter(texts), set[int]()
    while chunk := list(islice(stream, _CHUNK)):
        pieces = tokenizer(chunk, return_attention_mask=False, verbose=False)["input_ids"]
        used.update(chain.from_iterable(pieces))
    if not used:
        raise BiasBenchError("no text to trim the vocabulary to: the list of texts is empty")
    return np.array(sorted(used), dtype=np.int64)
