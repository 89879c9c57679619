import dataclasses
import itertools

import pytest
import torch

from lai_net.config import AttentionMask, EncoderConfig, InputConfig
from lai_net.inputs.marker_ids import SUBJECT_END, SUBJECT_START
from lai_net.model.attention_mask import Kind, visible
from lai_net.model.encoder import TwoPassEncoder, build_encoder
from lai_net.model.levitated import LevitatedMarkers
from lai_net.model.pretrained import encoder_source
from lai_net.model.readings import Interaction, Text
from tests.unit.representing import without_dropout


def encoder_of(name: str) -> TwoPassEncoder:
    torch.manual_seed(0)
    config = EncoderConfig(name=name)
    return build_encoder(config, encoder_source(config)).eval()


READINGS = {
    "default": InputConfig(),
    "text sees markers": InputConfig(text_sees_markers=True),
    "annotations see markers": InputConfig(annotations_see_markers=True),
    "type": InputConfig(marker_marker="type"),
    "all": InputConfig(marker_marker="all"),
    "everything": InputConfig(text_sees_markers=True, annotations_see_markers=True, marker_marker="all"),
}


def with_mask(settings: InputConfig, mask: AttentionMask, **changes: int) -> InputConfig:
    return dataclasses.replace(settings, attention_mask=mask, **changes)


def sees(settings: InputConfig, query: tuple[Kind, int], key: tuple[Kind, int]) -> bool:
    """Model.md f, cell by cell."""
    (query_kind, query_pair), (key_kind, key_pair) = query, key
    if key_kind == Kind.PADDING:
        return False
    if settings.attention_mask == "full":
        return True
    if key_kind in (Kind.START, Kind.END):
        if query_kind == Kind.TEXT:
            return settings.text_sees_markers
        if query_kind == Kind.ANNOTATION:
            return settings.annotations_see_markers
        if settings.marker_marker == "all" or query_pair == key_pair:
            return True
        return settings.marker_marker == "type" and query_kind == key_kind
    if query_kind == key_kind or query_kind in (Kind.START, Kind.END):
        return True
    return settings.attention_mask == "vis"


@pytest.mark.parametrize("reading", READINGS)
@pytest.mark.parametrize("mask", ["inv", "vis", "full"])
def test_visible_equals_the_rule_spelled_out(mask: AttentionMask, reading: str) -> None:
    settings = with_mask(READINGS[reading], mask)
    tokens = [
        [(Kind.TEXT, 0), (Kind.TEXT, 0), (Kind.PADDING, 0), (Kind.ANNOTATION, 0), (Kind.START, 0)],
        [(Kind.TEXT, 7), (Kind.ANNOTATION, 1), (Kind.START, 0), (Kind.END, 0), (Kind.END, 1)],
    ]
    kinds = torch.tensor([[kind for kind, _ in row] for row in tokens])
    pairs = torch.tensor([[pair for _, pair in row] for row in tokens])
    found = visible(kinds, pairs, settings)
    for row, q, k in itertools.product(range(2), range(5), range(5)):
        if tokens[row][q][0] != Kind.PADDING:
            assert bool(found[row, q, k]) == sees(settings, tokens[row][q], tokens[row][k]), (row, q, k)


def test_padding_is_seen_by_nobody() -> None:
    kinds = torch.tensor([[Kind.TEXT, Kind.PADDING, Kind.PADDING]])
    for mask, reading in itertools.product(("inv", "vis", "full"), READINGS.values()):
        assert not visible(kinds, torch.zeros_like(kinds), with_mask(reading, mask))[0, :, 1:].any()


TEXT = Text(
    torch.tensor([[101, 2023, 2003, 1037, 3231, 102], [101, 7592, 2088, 102, 0, 0]]),
    torch.tensor([[1, 1, 1, 1, 1, 1], [1, 1, 1, 1, 0, 0]]).bool(),
)
BOUNDS = torch.tensor([[[1, 1], [1, 3], [2, 4], [4, 4]], [[1, 1], [1, 2], [2, 2], [0, 0]]])


def first_round(
    encoder: TwoPassEncoder,
    mask: AttentionMask,
    *,
    dense: bool = False,
    annotations: bool = True,
    size: int = 220,
    reading: str = "default",
) -> LevitatedMarkers:
    built = LevitatedMarkers(
        encoder,
        torch.tensor([2711, 3029, 2173, 102]) if annotations else None,
        torch.tensor([[0, 0], [1, 2]]),
        annotation_start=20,
        settings=with_mask(READINGS[reading], mask, annotations=annotations, max_candidates=size),
    )
    built.two_pass = built.two_pass and not dense
    return built


VALID = torch.tensor([[True] * 4, [True] * 3 + [False]])


def read_and_mark(
    round_one: LevitatedMarkers, text: Text = TEXT, bounds: torch.Tensor = BOUNDS, valid: torch.Tensor = VALID
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


@pytest.mark.parametrize("valid", [VALID, VALID & torch.tensor([[True], [False]]), VALID & False])
@pytest.mark.parametrize("annotations", [True, False])
@pytest.mark.parametrize("mask", ["inv", "vis"])
def test_text_and_markers_read_at_once_equal_two_passes(
    tiny_encoder: str, mask: AttentionMask, annotations: bool, valid: torch.Tensor
) -> None:
    two_pass = first_round(encoder_of(tiny_encoder), mask, annotations=annotations).eval()
    with torch.inference_mode():
        unread = two_pass.read(TEXT, with_pairs=True)
        assert unread.states is None, "the text waits for its markers"
        at_once = two_pass.mark(unread, BOUNDS, valid)
    apart = read_and_mark(two_pass, valid=valid)
    for found, wanted in (
        (at_once.pairs[valid], apart.pairs[valid]),
        (at_once.text[TEXT.valid], apart.text[TEXT.valid]),
    ):
        torch.testing.assert_close(found, wanted, atol=1e-4, rtol=0)
    if apart.labels is not None:
        torch.testing.assert_close(at_once.labels, apart.labels, atol=1e-4, rtol=0)


def test_text_and_markers_are_read_at_once_in_inference_alone(tiny_encoder: str) -> None:
    def is_unread(round_one: LevitatedMarkers) -> bool:
        return round_one.read(TEXT, with_pairs=True).states is None

    round_one = first_round(encoder_of(tiny_encoder), "inv").eval()
    assert not is_unread(round_one), "a gradient may be asked for"
    with torch.no_grad():
        assert is_unread(round_one)
        round_one.encoder.is_compiled = True
        assert not is_unread(round_one), "each pass is compiled"
        round_one.encoder.is_compiled = False
        assert not is_unread(round_one.train()), "dropout draws pass by pass"


def test_full_takes_the_dense_pass_and_differs(tiny_encoder: str) -> None:
    encoder = encoder_of(tiny_encoder)
    full = first_round(encoder, "full", dense=False)
    assert not full.two_pass
    difference = read_and_mark(full).pairs - read_and_mark(first_round(encoder, "inv", dense=False)).pairs
    assert difference.abs().max() > 0.01


@pytest.mark.parametrize(
    ("reading", "annotations", "two_pass"),
    [
        ("default", True, True),
        ("text sees markers", True, False),
        ("annotations see markers", True, False),
        ("annotations see markers", False, True),
        ("type", True, False),
        ("all", True, False),
    ],
)
@pytest.mark.parametrize("mask", ["inv", "vis"])
def test_two_passes_are_taken_where_nothing_sees_a_marker_but_its_pair(
    tiny_encoder: str, mask: AttentionMask, reading: str, annotations: bool, two_pass: bool
) -> None:
    encoder = encoder_of(tiny_encoder)
    chosen = first_round(encoder, mask, annotations=annotations, reading=reading)
    assert chosen.two_pass is two_pass
    dense = first_round(encoder, mask, dense=True, annotations=annotations, reading=reading, size=2)
    packed = first_round(encoder, mask, annotations=annotations, reading=reading, size=2)
    found, by_packs = read_and_mark(chosen), read_and_mark(dense)
    assert_equal(read_and_mark(packed), by_packs)
    if two_pass:
        assert_equal(found, by_packs)
    else:  # what sees other markers depends on the pack
        assert (found.pairs[0] - by_packs.pairs[0]).abs().max() > 1e-3


@pytest.mark.parametrize(
    ("reading", "changed", "kept"),
    [
        ("text sees markers", "text", "labels"),
        ("annotations see markers", "labels", "text"),
        ("type", "pairs", "text"),
        ("all", "pairs", "text"),
    ],
)
def test_a_reading_changes_the_states_that_see_more(
    tiny_encoder: str, reading: str, changed: str, kept: str
) -> None:
    encoder = encoder_of(tiny_encoder)
    base = read_and_mark(first_round(encoder, "inv", dense=True))
    other = read_and_mark(first_round(encoder, "inv", reading=reading))
    assert (getattr(other, changed)[0] - getattr(base, changed)[0]).abs().max() > 0.01
    torch.testing.assert_close(getattr(other, kept)[0], getattr(base, kept)[0], atol=1e-5, rtol=0)


def test_markers_read_annotations(tiny_encoder: str) -> None:
    encoder = encoder_of(tiny_encoder)
    with_phrases = read_and_mark(first_round(encoder, "inv", dense=False))
    without = read_and_mark(first_round(encoder, "inv", dense=False, annotations=False))
    assert (with_phrases.pairs[0, :, 2:] - without.pairs[0, :, 2:]).abs().max() > 0.01
    torch.testing.assert_close(with_phrases.text[0], without.text[0])


@pytest.mark.parametrize("size", [220, 2], ids=["one pack", "two packs"])
@pytest.mark.parametrize(
    ("mask", "reading"),
    [("inv", "default"), ("vis", "default"), ("full", "default"), ("inv", "everything"), ("vis", "type")],
)
def test_one_sentence_alone_equals_itself_in_a_batch(
    tiny_encoder: str, mask: AttentionMask, reading: str, size: int
) -> None:
    round_one = first_round(encoder_of(tiny_encoder), mask, size=size, reading=reading)
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
    everything = torch.ones(1, 1, 5, dtype=torch.bool)
    before = encoder.encode(encoder.look_up(ids)[0], torch.arange(5)[None], everything)[0]
    with torch.no_grad():
        encoder.markers.weight[SUBJECT_END] *= -1
    after = encoder.encode(encoder.look_up(ids)[0], torch.arange(5)[None], everything)[0]
    assert (before - after).abs().max() > 0.01


def test_texts_that_are_looked_up_together_have_the_gradient_of_each_alone(tiny_encoder: str) -> None:
    encoder = encoder_of(tiny_encoder)
    marked = torch.tensor([[2023, encoder.vocab_size + SUBJECT_START, 2023, 102]])
    weights = [encoder.embeddings.word_embeddings.weight, encoder.markers.weight]
    scale = torch.arange(1.0, 1 + encoder.hidden_size)

    def gradients(*embedded: torch.Tensor) -> tuple[torch.Tensor, ...]:
        return torch.autograd.grad(sum((each * scale).sum() for each in embedded), weights)

    together = gradients(*encoder.look_up(TEXT.ids, marked))
    apart = [gradients(*encoder.look_up(ids)) for ids in (TEXT.ids, marked)]
    for both, first, second in zip(together, *apart, strict=True):
        torch.testing.assert_close(both, first + second, atol=0, rtol=0)
    assert torch.equal(together[0][2023], 3 * scale)
    assert torch.equal(together[1][SUBJECT_START], scale)


def test_a_training_step_looks_words_up_once(tiny_encoder: str) -> None:
    round_one = first_round(encoder_of(tiny_encoder), "inv").train()
    looked_up = []
    words = round_one.encoder.embeddings.word_embeddings
    words.register_forward_hook(lambda _, inputs, __: looked_up.append(inputs[0].tolist()))
    round_one.mark(round_one.read(TEXT), BOUNDS, VALID)
    (ids,) = looked_up
    assert ids == sorted({*TEXT.ids.flatten().tolist(), *round_one.annotation_ids.tolist()})


def test_layer_one_projects_equal_markers_once_unless_dropout_makes_them_differ(tiny_encoder: str) -> None:
    encoder = encoder_of(tiny_encoder)
    without_dropout(encoder)
    round_one = first_round(encoder, "inv")
    projected = []
    encoder.layers[0].attention.self.query.register_forward_hook(
        lambda _, inputs, __: projected.append(inputs[0].shape[:2].numel())
    )
    once = read_and_mark(round_one)
    each = read_and_mark(round_one.train())
    assert_equal(once, each)
    starts, ends = BOUNDS.flatten(0, 1).T.tolist()
    assert projected[-3:] == [TEXT.ids.numel(), len(round_one.annotation_ids), BOUNDS.numel()]
    assert projected[-4] == len(set(starts)) + len(set(ends))
