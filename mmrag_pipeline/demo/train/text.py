"""The text tower while it is trained: open_clip's own transformer over word vectors that come from MiniLM.

A token's embedding is its MiniLM word vector through a learned matrix, plus a learned correction of its own.
Words that no caption uses have no correction, but the matrix still puts them near words of the same meaning.
For export both are multiplied out into the plain embedding table that open_clip expects.
"""

import torch
from open_clip.transformer import TextTransformer
from torch import nn
from torch.nn.functional import normalize

CONTEXT = 24
#: how often a token must do in training with its MiniLM vector alone, as a word without correction does
WITHOUT_CORRECTION = 0.25
WIDTH = 192
VOCABULARY = 49408
CONFIG = {
    "context_length": CONTEXT,
    "vocab_size": VOCABULARY,
    "width": WIDTH,
    "heads": 4,
    "layers": 2,
    "mlp_ratio": 2.0,
}


class TextTower(nn.Module):
    """Captions as token numbers -> unit vectors, by the arithmetic of open_clip's CLIP.encode_text."""

    def __init__(self, *, words: torch.Tensor, used: torch.Tensor, dimensions: int) -> None:
        super().__init__()
        plain = TextTransformer(
            context_length=CONTEXT,
            vocab_size=8,
            width=WIDTH,
            heads=CONFIG["heads"],
            layers=CONFIG["layers"],
            mlp_ratio=CONFIG["mlp_ratio"],
            output_dim=dimensions,
        )
        self.transformer, self.ln_final = plain.transformer, plain.ln_final
        self.text_projection = plain.text_projection
        self.positional_embedding = plain.positional_embedding
        self.register_buffer("mask", plain.attn_mask, persistent=False)
        self.register_buffer("words", words, persistent=False)
        self.register_buffer("row", torch.zeros(len(words), dtype=torch.long), persistent=False)
        used = torch.unique(used)
        self.register_buffer("used", used, persistent=False)
        self.row[used] = torch.arange(1, len(used) + 1)
        self.matrix = nn.Linear(words.shape[1], WIDTH, bias=False)
        nn.init.normal_(self.matrix.weight, std=0.02 / words.shape[1] ** 0.5)
        self.correction = nn.Embedding(len(used) + 1, WIDTH, padding_idx=0)
        nn.init.normal_(self.correction.weight, std=0.005)
        self.correction.weight.data[0] = 0

    def embedding(self, tokens: torch.Tensor) -> torch.Tensor:
        """Token numbers -> the rows of the embedding table."""
        corrections = self.correction(self.row[tokens])
        if self.training:
            known = self.words[tokens].abs().sum(-1, keepdim=True) > 0
            dropped = known & (torch.rand(*tokens.shape, 1) < WITHOUT_CORRECTION)
            corrections = corrections.masked_fill(dropped, 0)
        return self.matrix(self.words[tokens]) + corrections

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        order = (tokens != 0).sum(1).argsort()  # short captions need not be as long as the longest
        encoded = torch.cat([self._encoded(tokens[some]) for some in order.split(128)])
        return encoded[order.argsort()]

    def _encoded(self, tokens: torch.Tensor) -> torch.Tensor:
        length = int((tokens != 0).sum(1).max())  # the mask is causal: what follows the longest caption changes nothing
        tokens = tokens[:, :length]
        states = self.embedding(tokens) + self.positional_embedding[:length]
        if self.training:
            states = nn.functional.dropout(states, 0.1)
        states = self.ln_final(self.transformer(states, attn_mask=self.mask[:length, :length]))
        ends = states[torch.arange(len(tokens)), tokens.argmax(1)]
        return normalize(ends @ self.text_projection, dim=-1)

    def open_clip_state(self) -> dict[str, torch.Tensor]:
        """Its tensors under the names of open_clip's CLIP."""
        state = {f"transformer.{name}": value for name, value in self.transformer.state_dict().items()}
        state |= {f"ln_final.{name}": value for name, value in self.ln_final.state_dict().items()}
        state["positional_embedding"] = self.positional_embedding.detach()
        state["text_projection"] = self.text_projection.detach()
        with torch.no_grad():
            state["token_embedding.weight"] = self.embedding(torch.arange(VOCABULARY))
        return state
