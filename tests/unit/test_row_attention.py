"""Attention of rows against the rule spelled out, query by query."""

import pytest
import torch
from torch import Tensor

from lai_net.model.row_attention import RowAttention

NUM_HEADS, WIDTH, BESIDE = 2, 3, 4


def rows_of(count: int, dtype: torch.dtype = torch.float32) -> list[Tensor]:
    """Queries, keys and values of so many rows."""
    return [torch.randn(count, NUM_HEADS * WIDTH).to(dtype) for _ in range(3)]


def attended(query: Tensor, keys: Tensor, values: Tensor) -> Tensor:
    """One row's (H,) of those it sees (S, H), a head at a time, in float64."""
    heads = []
    for head in range(NUM_HEADS):
        own = slice(head * WIDTH, (head + 1) * WIDTH)
        scores = keys[:, own].double() @ query[own].double() / WIDTH**0.5
        heads.append(scores.softmax(0) @ values[:, own].double())
    return torch.cat(heads)


def seen_by(row: int, tokens: list[int], markers: list[int]) -> tuple[list[int], bool]:
    """The rows that a row sees, and whether it is a marker."""
    start = 0
    texts = []
    for count in (*tokens, *markers):
        texts.append(list(range(start, start + count)))
        start += count
    number = next(number for number, rows in enumerate(texts) if row in rows)
    if number < len(tokens):
        return texts[number], False
    place = row - texts[number][0]
    partner = row + 1 if place % 2 == 0 else row - 1
    return [*texts[number - len(tokens)], row, partner], True


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("has_beside", [True, False])
@pytest.mark.parametrize(
    ("tokens", "markers"), [([3], [4]), ([5, 1, 4], [2, 6, 4]), ([2, 3], [0, 2]), ([4], [0])]
)
def test_each_row_attends_to_what_it_sees(
    tokens: list[int], markers: list[int], has_beside: bool, dtype: torch.dtype
) -> None:
    torch.manual_seed(0)
    query, key, value = rows_of(sum(tokens) + sum(markers), dtype)
    _, *beside = rows_of(BESIDE, dtype)
    by_head = [torch.unflatten(rows[None], 2, (NUM_HEADS, WIDTH)).transpose(1, 2) for rows in beside]

    attention = RowAttention(tokens, markers, NUM_HEADS)
    mixed = attention.mix(query, key, value, (by_head[0], by_head[1]) if has_beside else None)

    assert mixed.dtype == dtype
    for row, found in enumerate(mixed):
        seen, is_marker = seen_by(row, tokens, markers)
        keys, values = key[seen], value[seen]
        if is_marker and has_beside:
            keys, values = torch.cat([keys, beside[0]]), torch.cat([values, beside[1]])
        tolerance = 1e-5 if dtype == torch.float32 else 3e-2
        torch.testing.assert_close(found.double(), attended(query[row], keys, values), atol=tolerance, rtol=0)
