import itertools

import pytest
import torch

from lai_net.config import AttentionMask, EncoderConfig
from lai_net.inputs.marker_ids import SUBJECT_END, SUBJECT_START
from lai_net.inputs.tokenization import word_tokenizer
from lai_net.model.attention_mask import Kind, visible
from lai_net.model.encoder import TwoPassEncoder, build_encoder
from lai_net.model.first_round import FirstRound, Interaction, Text


def encoder_of(name: str) -> TwoPassEncoder:
    torch.manual_seed(0)
    tokenizer = word_tokenizer(name)
    config = EncoderConfig(name=name)
    return build_encoder(config, mask_id=tokenizer.mask_id, entity_id=tokenizer.entity_id).eval()


def sees(mask: str, query: tuple[Kind, int], key: tuple[Kind, int]) -> bool:
    """Model.md f, cell by cell."""
    (query_kind, query_pair), (key_kind, key_pair) = query, key
    if key_kind == Kind.PADDING:
        return False
    if mask == "full":
        return True
    if key_kind in (Kind.START, Kind.END):
        return query_kind in (Kind.START, Kind.END) and query_pair == key_pair
    if query_kind == key_kind or query_kind in (Kind.START, Kind.END):
        return True
    return mask == "vis"


@pytest.mark.parametrize("mask", ["inv", "vis", "full"])
def test_visible_equals_the_rule_spelled_out(mask: AttentionMask) -> None:
    tokens = [
        [(Kind.TEXT, 0), (Kind.TEXT, 0), (Kind.PADDING, 0), (Kind.ANNOTATION, 0), (Kind.START, 0)],
        [(Kind.TEXT, 7), (Kind.ANNOTATION, 1), (Kind.START, 0), (Kind.END, 0), (Kind.END, 1)],
    ]
    kinds = torch.tensor([[kind for kind, _ in row] for row in tokens])
    pairs = torch.tensor([[pair for _, pair in row] for row in tokens])
    found = visible(kinds, pairs, mask)
    for row, q, k in itertools.product(range(2), range(5), range(5)):
        if tokens[row][q][0] != Kind.PADDING:
            assert bool(found[row, q, k]) == sees(mask, tokens[row][q], tokens[row][k]), (row, q, k)


def test_padding_is_seen_by_nobody() -> None:
    kinds = torch.tensor([[Kind.TEXT, Kind.PADDING, Kind.PADDING]])
    for mask in ("inv", "vis", "full"):
        assert not visible(kinds, torch.zeros_like(kinds), mask)[0, :, 1:].any()


TEXT = Text(
    torch.tensor([[101, 2023, 2003, 1037, 3231, 102], [101, 7592, 2088, 102, 0, 0]]),
    torch.tensor([[1, 1, 1, 1, 1, 1], [1, 1, 1, 1, 0, 0]]).bool(),
)
BOUNDS = torch.tensor([[[1, 1], [1, 3], [2, 4], [4, 4]], [[1, 1], [1, 2], [2, 2], [0, 0]]])


def first_round(
    encoder: TwoPassEncoder, mask: AttentionMask, *, dense: bool, annotations: bool = True, size: int = 220
) -> FirstRound:
    return FirstRound(
        encoder,
        torch.tensor([2711, 3029, 2173, 102]) if annotations else None,
        torch.tensor([[0, 0], [1, 2]]),
        annotation_start=20,
        mask=mask,
        max_candidates=size,
        dense=dense,
    )


VALID = torch.tensor([[True] * 4, [True] * 3 + [False]])


def read_and_mark(
    round_one: FirstRound, text: Text = TEXT, bounds: torch.Tensor = BOUNDS, valid: torch.Tensor = VALID
) -> Interaction:
    with torch.inference_mode():
        return round_one.mark(round_one.read(text), bounds, valid)


def assert_equal(first: Interaction, second: Interaction) -> None:
    torch.testing.assert_close(first.pairs[0], second.pairs[0], atol=1e-4, rtol=0)
    torch.testing.assert_close(first.pairs[1, :3], second.pairs[1, :3], atol=1e-4, rtol=0)
    torch.testing.assert_close(first.text[1, :4], second.text[1, :4], atol=1e-4, rtol=0)
    if first.labels is not None:
        assert second.labels is not None
        labels = torch.broadcast_tensors(first.labels, second.labels)
        torch.testing.assert_close(*labels, atol=1e-4, rtol=0)


@pytest.mark.parametrize("size", [220, 3, 1], ids=["one pack", "two packs", "a pack a pair"])
@pytest.mark.parametrize("annotations", [True, False])
@pytest.mark.parametrize("mask", ["inv", "vis"])
def test_two_passes_equal_the_dense_pass(
    tiny_encoder: str, mask: AttentionMask, annotations: bool, size: int
) -> None:
    encoder = encoder_of(tiny_encoder)
    two_pass = first_round(encoder, mask, dense=False, annotations=annotations)
    dense = first_round(encoder, mask, dense=True, annotations=annotations, size=size)
    assert two_pass.two_pass
    assert not dense.two_pass
    assert_equal(read_and_mark(two_pass), read_and_mark(dense))


def test_full_takes_the_dense_pass_and_differs(tiny_encoder: str) -> None:
    encoder = encoder_of(tiny_encoder)
    full = first_round(encoder, "full", dense=False)
    assert not full.two_pass
    difference = read_and_mark(full).pairs - read_and_mark(first_round(encoder, "inv", dense=False)).pairs
    assert difference.abs().max() > 0.01


def test_markers_read_annotations(tiny_encoder: str) -> None:
    encoder = encoder_of(tiny_encoder)
    with_phrases = read_and_mark(first_round(encoder, "inv", dense=False))
    without = read_and_mark(first_round(encoder, "inv", dense=False, annotations=False))
    assert (with_phrases.pairs[0, :, 2:] - without.pairs[0, :, 2:]).abs().max() > 0.01
    torch.testing.assert_close(with_phrases.text[0], without.text[0])


@pytest.mark.parametrize("size", [220, 2], ids=["one pack", "two packs"])
@pytest.mark.parametrize("mask", ["inv", "vis", "full"])
def test_one_sentence_alone_equals_itself_in_a_batch(
    tiny_encoder: str, mask: AttentionMask, size: int
) -> None:
    round_one = first_round(encoder_of(tiny_encoder), mask, dense=False, size=size)
    wide, wide_valid = BOUNDS.repeat(1, 3, 1), VALID.repeat(1, 3)
    wide_valid[1, 3:] = False
    beside = read_and_mark(round_one, bounds=wide, valid=wide_valid)
    alone = read_and_mark(
        round_one, Text(TEXT.ids[1:, :4], TEXT.valid[1:, :4]), BOUNDS[1:, :3], VALID[1:, :3]
    )
    torch.testing.assert_close(alone.pairs[0], beside.pairs[1, :3], atol=1e-5, rtol=0)
    torch.testing.assert_close(alone.text[0], beside.text[1, :4], atol=1e-5, rtol=0)
    assert alone.labels is not None
    assert beside.labels is not None
    torch.testing.assert_close(alone.labels[0], beside.labels[-1], atol=1e-5, rtol=0)


def test_the_order_of_candidates_changes_nothing(tiny_encoder: str) -> None:
    round_one = first_round(encoder_of(tiny_encoder), "inv", dense=False)
    order = torch.tensor([2, 0, 3, 1])
    shuffled = read_and_mark(round_one, bounds=BOUNDS[:, order], valid=VALID[:, order])
    torch.testing.assert_close(shuffled.pairs, read_and_mark(round_one).pairs[:, order], atol=1e-5, rtol=0)


def test_encode_equals_transformers(tiny_encoder: str) -> None:
    from transformers import AutoModel

    encoder = encoder_of(tiny_encoder)
    bert = AutoModel.from_pretrained(tiny_encoder, add_pooling_layer=False).eval()
    with torch.inference_mode():
        ours = read_and_mark(first_round(encoder, "inv", dense=False)).text
        theirs = bert(input_ids=TEXT.ids, attention_mask=TEXT.valid.long()).last_hidden_state
    torch.testing.assert_close(ours[0], theirs[0], atol=1e-5, rtol=0)
    torch.testing.assert_close(ours[1, :4], theirs[1, :4], atol=1e-5, rtol=0)


def test_solid_markers_have_embeddings_of_their_own(tiny_encoder: str) -> None:
    encoder = encoder_of(tiny_encoder)
    ids = torch.tensor(
        [[101, encoder.vocab_size + SUBJECT_START, 2023, encoder.vocab_size + SUBJECT_END, 102]]
    )
    before = encoder.encode(ids, torch.arange(5)[None], torch.ones(1, 1, 5, dtype=torch.bool))[0]
    with torch.no_grad():
        encoder.markers.weight[SUBJECT_END] *= -1
    after = encoder.encode(ids, torch.arange(5)[None], torch.ones(1, 1, 5, dtype=torch.bool))[0]
    assert (before - after).abs().max() > 0.01
