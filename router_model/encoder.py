"""Text to a vector, by looking token vectors up in a static table.

The table is int8 with one scale per dimension: a quarter of float32, and integer sums do not
depend on the order of addition, so a text has one vector whatever the batch. Vectors come from a
sentence-transformers model at training time (`StaticEncoder.from_sentence_transformer`); serving
needs only numpy and the tokenizer.
"""

import hashlib
from functools import cached_property, lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import msgspec
import numpy as np
import numpy.typing as npt
from safetensors import SafetensorError
from safetensors.numpy import load, save
from tokenizers import Tokenizer

from router_model.errors import ArtifactError

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

MAX_TOKENS = 256
TABLE_FILE = "embedding.safetensors"
TOKENIZER_FILE = "tokenizer.json"

# Tool sets that are remembered: 32 tools with 128 dimensions take 32 kB.
_MAX_REMEMBERED = 512
_MAX_WORDS = 8192
# Texts of users, a few thousand characters each at most.
_MAX_TEXTS = 256

Vector = npt.NDArray[np.float32]
Matrix = npt.NDArray[np.float64]


class StaticEncoder:
    """Mean of token vectors, scaled to unit length.

    `table` is int8 of shape (vocabulary, dimension), `scale` float32 of shape (dimension,).
    Vectors are rounded to float16, the precision in which the log keeps them, so that what
    is trained on equals what is served.
    """

    def __init__(
        self, table: npt.NDArray[np.int8], scale: Vector, tokenizer_json: str, *, name: str
    ) -> None:
        self.table = np.ascontiguousarray(table, dtype=np.int8)
        self.scale = np.asarray(scale, dtype=np.float32)
        self.name = name
        self._tokenizer_json = tokenizer_json
        self._tokenizer = Tokenizer.from_str(tokenizer_json)
        self._tokenizer.no_padding()
        self._tokenizer.no_truncation()
        if self._tokenizer.get_vocab_size() > self.table.shape[0]:
            raise ArtifactError(
                f"encoder: tokenizer has {self._tokenizer.get_vocab_size()} tokens, "
                f"the table only {self.table.shape[0]} rows"
            )
        self._remembered_text = lru_cache(maxsize=_MAX_TEXTS)(self._encode)
        self._remembered = lru_cache(maxsize=_MAX_REMEMBERED)(self._encode_all)
        self._remembered_ids = lru_cache(maxsize=_MAX_WORDS)(self._ids)

    @property
    def dimension(self) -> int:
        """Length of a vector."""
        return int(self.table.shape[1])

    @cached_property
    def hash(self) -> str:
        """Twelve hex digits that change with the table or the tokenizer."""
        digest = hashlib.sha256(self.table.tobytes())
        digest.update(self.scale.tobytes())
        digest.update(self._tokenizer_json.encode())
        return digest.hexdigest()[:12]

    def encode(self, text: str) -> Vector:
        """Unit vector, float32 of shape (dimension,), read-only; zeros for one without tokens.

        The last few are kept: an agent works on one instruction for many calls.
        """
        return self._remembered_text(text)

    def encode_recurring(self, texts: tuple[str, ...]) -> Matrix:
        """Vectors as read-only float64 of shape (n, dimension); the last few hundred are kept.

        For the texts of tools, which an agent repeats on every call; never for what users write.
        Words are looked up one by one, because tools have most of theirs in common.
        """
        return self._remembered(texts)

    def _encode(self, text: str) -> Vector:
        vector = self._unit(self._total(self._ids(text)))
        vector.flags.writeable = False
        return vector

    def _encode_all(self, texts: tuple[str, ...]) -> Matrix:
        totals = np.zeros((len(texts), self.dimension), dtype=np.int32)
        for row, text in zip(totals, texts, strict=True):
            row[:] = self._total([i for word in text.split() for i in self._remembered_ids(word)])
        vectors = self._unit(totals).astype(np.float64)
        vectors.flags.writeable = False
        return vectors

    def _ids(self, text: str) -> list[int]:
        ids: list[int] = self._tokenizer.encode(text, add_special_tokens=False).ids
        return ids

    def _total(self, ids: list[int]) -> npt.NDArray[np.int32]:
        """Sum of the tokens' vectors, beginning with the first."""
        # An empty list would index with floats.
        rows = self.table[ids[:MAX_TOKENS]] if ids else self.table[:0]
        return np.asarray(rows.sum(axis=0, dtype=np.int32))

    def _unit(self, totals: npt.NDArray[np.int32]) -> Vector:
        """Vectors of length 1 (0 for zeros) along the last axis, rounded to float16."""
        vectors = totals.astype(np.float32) * self.scale
        squares = np.sum(np.square(vectors, dtype=np.float64), axis=-1, keepdims=True)
        norms = np.sqrt(squares).astype(np.float32)
        norms[norms == 0] = 1
        return np.asarray((vectors / norms).astype(np.float16).astype(np.float32))

    def to_bytes(self) -> bytes:
        """All of the encoder as one file, which `from_bytes` reads."""
        tokenizer = np.frombuffer(self._tokenizer_json.encode(), dtype=np.uint8)
        return save({"table": self.table, "scale": self.scale, "tokenizer": tokenizer})

    @classmethod
    def from_bytes(cls, data: bytes) -> Self:
        """The encoder in what `to_bytes` gave; ArtifactError for anything else."""
        try:
            tensors = load(data)
            return cls._of(tensors, tensors["tokenizer"].tobytes().decode(), name="")
        except (KeyError, SafetensorError, ValueError) as error:
            raise ArtifactError(f"encoder: {len(data)} bytes can't be read: {error}") from error

    def save(self, folder: Path) -> None:
        """Write the table and the tokenizer into an existing folder."""
        tensors: dict[str, npt.NDArray[Any]] = {"table": self.table, "scale": self.scale}
        (folder / TABLE_FILE).write_bytes(save(tensors, metadata={"name": self.name}))
        (folder / TOKENIZER_FILE).write_text(self._tokenizer_json, encoding="utf-8")

    @classmethod
    def load(cls, folder: Path, *, name: str = "") -> Self:
        """Read what `save` wrote; ArtifactError when a file is missing or unreadable."""
        try:
            tensors = load((folder / TABLE_FILE).read_bytes())
            tokenizer_json = (folder / TOKENIZER_FILE).read_text(encoding="utf-8")
            return cls._of(tensors, tokenizer_json, name=name)
        except (OSError, KeyError, SafetensorError, ValueError) as error:
            raise ArtifactError(f"encoder: {folder} can't be read: {error}") from error

    @classmethod
    def _of(cls, tensors: dict[str, npt.NDArray[Any]], tokenizer_json: str, *, name: str) -> Self:
        msgspec.json.decode(tokenizer_json)  # tokenizers raises a bare Exception
        return cls(tensors["table"], tensors["scale"], tokenizer_json, name=name)

    @classmethod
    def from_table(
        cls, vectors: npt.NDArray[np.floating], tokenizer_json: str, *, name: str, dimension: int
    ) -> Self:
        """Quantise float token vectors of shape (vocabulary, >= dimension) to int8.

        The first `dimension` columns are kept: right for Matryoshka-trained tables and for
        tables ordered by principal component.
        """
        kept = np.asarray(vectors[:, :dimension], dtype=np.float32)
        scale = np.abs(kept).max(axis=0) / np.float32(127)
        scale[scale == 0] = 1
        table = np.rint(kept / scale).astype(np.int8)
        return cls(table, scale, tokenizer_json, name=name)

    @classmethod
    def from_sentence_transformer(cls, name_or_path: str, *, dimension: int) -> Self:
        """Token table of any sentence-transformers model, by name or folder.

        "wordllama" takes the table in the package of that name; nothing is downloaded for it.
        A model that starts with a StaticEmbedding module gives its own table. Any other model
        embeds every token of its vocabulary by itself, which is then rotated to its principal
        components (Model2Vec's distillation, github.com/MinishLab/model2vec).
        """
        is_packaged = name_or_path == "wordllama"
        model = _wordllama() if is_packaged else _local_model(name_or_path)
        vectors, tokenizer_json = _token_table(model)
        return cls.from_table(vectors, tokenizer_json, name=name_or_path, dimension=dimension)


def _local_model(name_or_path: str) -> "SentenceTransformer":
    """A model from a folder or the local cache; nothing is downloaded."""
    from sentence_transformers import SentenceTransformer

    try:
        return SentenceTransformer(name_or_path, device="cpu", local_files_only=True)
    except (OSError, ValueError) as error:
        raise ArtifactError(
            f"encoder: {name_or_path!r} is neither a model's folder nor in the local cache, and "
            "nothing is downloaded; expected wordllama or such a folder"
        ) from error


def _wordllama() -> "SentenceTransformer":
    """The weights of the wordllama package as a sentence-transformers model."""
    import wordllama
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.modules import StaticEmbedding

    folder = Path(wordllama.__file__).parent
    weights = load((folder / "weights" / "l2_supercat_256.safetensors").read_bytes())
    tokenizer = Tokenizer.from_file(
        str(folder / "tokenizers" / "l2_supercat_tokenizer_config.json")
    )
    table = next(iter(weights.values())).astype(np.float32)
    module = StaticEmbedding(tokenizer, embedding_weights=table)
    return SentenceTransformer(modules=[module], device="cpu")


def _token_table(model: "SentenceTransformer") -> tuple[Vector, str]:
    """Float vectors of shape (vocabulary, any) and the tokenizer's JSON."""
    from sentence_transformers.sentence_transformer.modules import StaticEmbedding

    first = model[0]
    if isinstance(first, StaticEmbedding):
        return first.embedding.weight.detach().numpy(), first.tokenizer.to_str()
    tokenizer: Tokenizer = model.tokenizer.backend_tokenizer
    tokens = [tokenizer.decode([index]) for index in range(tokenizer.get_vocab_size())]
    vectors = model.encode(tokens, batch_size=1024, show_progress_bar=True)
    return _principal(np.asarray(vectors, dtype=np.float32)), tokenizer.to_str()


def _principal(vectors: Vector) -> Vector:
    """Vectors rotated to principal components, frequent tokens weighted down.

    Vocabularies are ordered by frequency, so a rank stands for a Zipf probability p, and the
    weight is a / (a + p) with a = 1e-3 (smooth inverse frequency, Arora et al., ICLR 2017).
    """
    centred = vectors - vectors.mean(axis=0)
    _, _, components = np.linalg.svd(centred, full_matrices=False)
    probability = 1.0 / (np.arange(len(vectors)) + 10.0)
    probability /= probability.sum()
    weight = 1e-3 / (1e-3 + probability)
    return np.asarray(centred @ components.T * weight[:, None], dtype=np.float32)
