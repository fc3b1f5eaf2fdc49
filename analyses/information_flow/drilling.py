"""What lies behind the nodes of the routes: words before and after the norm, what blocks wrote, neurons, ranks.

States are collected on the way down and read together at the end: the unembedding is gone through a few times in all.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from analyses.information_flow.contributions import attended, proximity
from analyses.information_flow.reading import Block
from analyses.information_flow.routes import stream
from kernels.vocab_lens import VocabLens, vocab_lens

if TYPE_CHECKING:
    from hooks.model import Model

Row = dict[str, Any]
BEFORE, AFTER = "before the norm", "after the norm"
RAISED, LOWERED = "raises", "lowers"
RAISES = 3
"""Tokens told of a neuron."""


class Drill:
    """Collects the nodes of a run; `words` tokens and `most_neurons` neurons of each are kept.

    Attributes:
        states: residuals on the routes, [d_model] each; beside: others, whose rank is asked for.
        writes: of a node what its block added, and the residual after it.
        neurons: rows without their tokens, and what each neuron wrote.
    """

    def __init__(self, model: Model, words: int, most_neurons: int, predicted: int) -> None:
        self.model, self.words, self.most_neurons, self.predicted = model, words, most_neurons, predicted
        self.U, self.b_U = model.W_U.float(), None if model.b_U is None else model.b_U.float()
        self.states: dict[str, Tensor] = {}
        self.beside: dict[str, Tensor] = {}
        self.writes: dict[str, tuple[Tensor, Tensor]] = {}
        self.neurons: list[tuple[Row, Tensor]] = []

    def collect(self, block: Block, nodes: Sequence[str]) -> None:
        """Keep what is to be read of a block's nodes, A, F and R; copies, so that the block itself can go."""
        attended_to = "R" if block.middle is None else "A"
        for node in nodes:
            kind, place = node[0], int(node.split(".")[1])
            after = block.middle if kind == "A" and block.middle is not None else block.after
            if kind != "F":
                self.states[node] = after[place].clone()
            else:
                self.writes[node] = block.wrote[place].clone(), after[place].clone()
                if self.most_neurons:
                    self._neurons(block, place)
            if kind == attended_to:
                self.writes[node] = block.attention[place].clone(), after[place].clone()
                self.beside[stream(block.layer - 1, place)] = block.before[place].clone()

    def _neurons(self, block: Block, place: int) -> None:
        """The neurons of a position's MLP with the largest shares in the residual after the block, its other parts
        being the other neurons and all that is no neuron.
        """
        share = _neuron_shares(block, place)
        top = share.topk(min(self.most_neurons, len(share)))
        weights = self.model.W_out(block.layer)[top.indices].float()
        for neuron, value, out in zip(top.indices.tolist(), top.values.tolist(), weights, strict=True):
            active = float(block.neurons[place, neuron])
            row = {"node": f"F{block.layer}.{place}", "layer": block.layer, "position": place, "neuron": neuron,
                   "share": value, "activation": active}  # fmt: skip
            self.neurons.append((row, out if active >= 0 else -out))

    def read_states(self) -> tuple[list[Row], dict[str, int]]:
        """The likeliest tokens of every residual without and with the final norm, and of these and those beside how
        many tokens they hold more likely than the predicted one, after the norm.
        """
        asked = self.states | {node: state for node, state in self.beside.items() if node not in self.states}
        states, nodes = torch.stack(list(asked.values())), list(self.states)
        target = torch.full((len(states), 1), self.predicted, device=states.device)
        normed = vocab_lens(self.normed(states), self.U, self.b_U, k=self.words, targets=target)
        plain = vocab_lens(states[: len(nodes)], self.U, self.b_U, k=self.words)
        rows = []
        for reading, lens in ((BEFORE, plain), (AFTER, normed)):
            for node, order, token, text, place in self._tops(nodes, lens):
                rows.append({"node": node, "reading": reading, "order": order, "token": text, "token_id": token,
                             "probability": float(lens.top_log_probs[place, order].exp())})  # fmt: skip
        return rows, dict(zip(asked, normed.target_ranks[:, 0].tolist(), strict=True))

    def read_writes(self) -> list[Row]:
        """The tokens that a block's output raises and lowers most, in logits at the scale of the residual after it."""
        if not self.writes:
            return []
        norm = self.model.norm(None)
        parts, wholes = (torch.stack(list(side)) for side in zip(*self.writes.values(), strict=True))
        read, rows = norm.linear(parts, norm.scale(wholes)), []
        for sense, sign in ((RAISED, 1.0), (LOWERED, -1.0)):
            lens = vocab_lens(sign * read, self.U, k=self.words)
            logits = sign * (lens.top_log_probs + lens.log_sum_exp[:, None])
            for node, order, token, text, place in self._tops(list(self.writes), lens):
                rows.append({"node": node, "sense": sense, "order": order, "token": text, "token_id": token,
                             "logit": float(logits[place, order])})  # fmt: skip
        return rows

    def read_neurons(self) -> list[Row]:
        """The neurons kept, with the tokens that each raises most."""
        if not self.neurons:
            return []
        lens = vocab_lens(self.normed(torch.stack([out for _, out in self.neurons])), self.U, k=RAISES)
        return [row | {"raises": self.model.str_tokens(ids)}
                for (row, _), ids in zip(self.neurons, lens.top_ids.tolist(), strict=True)]  # fmt: skip

    def normed(self, states: Tensor) -> Tensor:
        """Through the model's final norm, in fp32."""
        norm = self.model.norm(None)
        return norm.linear(states, norm.scale(states)) + (0.0 if norm.bias is None else norm.bias)

    def _tops(self, nodes: Sequence[str], lens: VocabLens) -> Iterator[tuple[str, int, int, str, int]]:
        """(node, order, token id, its text, place of the node) of the first of a lens' rows."""
        for place, node in enumerate(nodes):
            ids = lens.top_ids[place].tolist()
            for order, (token, text) in enumerate(zip(ids, self.model.str_tokens(ids), strict=True)):
                yield node, order, token, text, place


def _neuron_shares(block: Block, place: int) -> Tensor:
    """[neuron] of 1: all parts of the residual after the block, the neurons one by one."""
    whole = block.after[place]
    neurons = proximity(whole, block.neurons[place, :, None] * block.model.W_out(block.layer).float())
    if block.middle is None:
        rest = proximity(whole, block.before[place])
        rest = rest + attended(whole[None], block.pattern[:, [place]], block.written).sum()
    else:
        rest = proximity(whole, block.middle[place])
    return neurons / (neurons.sum() + rest)
