"""`LaiNet` by itself, on models with random weights."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from transformers import AutoTokenizer

from lai_net import LaiNet
from lai_net.config import Phase
from lai_net.errors import InputError
from lai_net.extraction import Extraction
from lai_net.schema import Sentence
from lai_net.trained_model import load_model
from tests.integration.untrained import TEXTS, change, make_trial


def test_offsets_and_words_are_those_of_the_texts(expected: list[Extraction]) -> None:
    for text, found in zip(TEXTS, expected, strict=True):
        if isinstance(text, str):
            assert found.text == text
        for entity in found.entities:
            assert entity.text == found.text[entity.start_char : entity.end_char]
            assert entity.text.split() == " ".join(found.tokens[entity.start : entity.end]).split()
            assert 0 < entity.score <= 1
            assert any(first <= entity.start and entity.end <= end for first, end in found.sentences)
        assert all({item.subject, item.object} <= set(found.entities) for item in found.relations)
    assert expected[1].tokens == ("Words", "are", "taken", "as", "they", "are.")
    assert expected[2].sentences == ((0, 2), (2, 2), (2, 5))
    assert expected[3] == expected[4].__class__("", (), (), (), ())


def test_offsets_are_of_characters_whatever_their_script(saved: Path) -> None:
    text = "Zoë met A\u0301d\u200d \U0001f600 in 東京.\r\n\r\nשלום \u202eNaïve\u00a0tu\u200bde’s\tLtd."
    (found,) = LaiNet.from_pretrained(saved).extract([text])
    assert len(found.sentences) == 2
    assert "".join(found.tokens) == "".join(text.split())
    assert len(found.entities) > 1
    for entity in found.entities:
        assert entity.text == text[entity.start_char : entity.end_char]
        assert "".join(entity.text.split()) == "".join(found.tokens[entity.start : entity.end])


def test_a_text_alone_gives_what_it_gives_among_others(model: LaiNet, expected: list[Extraction]) -> None:
    for text, among_others in zip(TEXTS, expected, strict=True):
        (alone,) = model.extract([text])
        for mine, theirs in (
            (alone.entities, among_others.entities), (alone.relations, among_others.relations)
        ):  # fmt: skip
            assert [item.type for item in mine] == [item.type for item in theirs]
            assert [item.score for item in mine] == pytest.approx([item.score for item in theirs], abs=1e-5)


def test_what_was_saved_finds_the_same_without_its_encoder(
    saved: Path, expected: list[Extraction], no_encoder: None
) -> None:
    assert LaiNet.from_pretrained(saved).extract(TEXTS) == expected


def test_saved_again_it_is_the_same_bytes(saved: Path, tmp_path: Path, no_encoder: None) -> None:
    again = tmp_path / "again"
    LaiNet.from_pretrained(saved).save_pretrained(again)
    names = ["config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"]
    assert sorted(path.name for path in again.iterdir()) == names
    for name in names:
        assert (again / name).read_bytes() == (saved / name).read_bytes(), name


def test_loading_leaves_the_random_state_alone(saved: Path) -> None:
    before = torch.get_rng_state()
    LaiNet.from_pretrained(saved)
    assert torch.equal(torch.get_rng_state(), before)


def test_saving_replaces_its_files_and_no_others(model: LaiNet, tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    model.save_pretrained(tmp_path)
    (tmp_path / "model.safetensors").write_text("old")
    model.save_pretrained(tmp_path)
    assert (tmp_path / "model.safetensors").stat().st_size > 1000
    assert (tmp_path / "notes.txt").read_text() == "mine"
    assert json.loads((tmp_path / "config.json").read_text())["model_type"] == "lai-net"
    with pytest.raises(InputError, match="cannot be written"):
        model.save_pretrained(tmp_path / "notes.txt")


@pytest.mark.parametrize("kind", ["encoder", "trial"])
def test_saving_spares_a_model_of_another_kind(
    kind: str, model: LaiNet, trials: dict[Phase, Path], tiny_encoder: str, tmp_path: Path
) -> None:
    source = Path(tiny_encoder) if kind == "encoder" else trials["NER"] / "best"
    folder = Path(shutil.copytree(source, tmp_path / "theirs"))
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    with pytest.raises(InputError, match=r"theirs: has a config\.json that is not of a saved model"):
        model.save_pretrained(folder)
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


def test_a_model_that_was_loaded_in_inference_mode_predicts(saved: Path, expected: list[Extraction]) -> None:
    with torch.inference_mode():
        found = LaiNet.from_pretrained(saved).extract(TEXTS)
    for mine, theirs in zip(found, expected, strict=True):
        assert mine.entities == theirs.entities
        assert [item.type for item in mine.relations] == [item.type for item in theirs.relations]


def test_an_entity_that_re_types_has_the_probability_of_that_type(
    model: LaiNet, tiny_encoder: str, tmp_path: Path
) -> None:
    typing = make_trial(tmp_path / "re", "RE", tiny_encoder, head__object_typing="types")
    joined = LaiNet(model.ner, load_model(typing / "best"))
    words = ("Ada", "wrote"), ("Ada",)  # the second has one entity, which no pair types
    sentences = [Sentence(item) for item in words]
    (two, one), (plain_two, plain_one) = (item.predict(sentences).sentences for item in (joined, model))
    assert one.entities == plain_one.entities
    assert len(one.entities) == 1
    with torch.no_grad():
        scores = joined.re.task._scores(joined.re.task._read([plain_two.sentence])[0], 1)[0].types
    assert len(two.entities) == len(scores) > 1
    for index, (entity, score) in enumerate(two.entities):
        number = joined.re.task.types.index(entity.type)
        assert score == pytest.approx(float(scores[index].softmax(-1)[number]))
        assert score > 0.5


def test_transformers_reads_the_tokenizer_files(saved: Path, tiny_encoder: str) -> None:
    text = "Unbelievable, naïve tokenisation."
    ids = [AutoTokenizer.from_pretrained(folder)(text).input_ids for folder in (saved, tiny_encoder)]
    assert ids[0] == ids[1]


def test_a_frozen_cut_encoder_and_another_tokenizer_are_included(
    trials: dict[Phase, Path], tiny_encoder: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    other = Path(shutil.copytree(tiny_encoder, tmp_path / "encoder"))
    change(other / "tokenizer_config.json", "do_lower_case", value=False)
    settings = {"encoder__freeze": "all", "encoder__num_layers": 1, "graph__layers": 0}
    ner = make_trial(tmp_path / "ner", "NER", str(other), **settings)
    model = LaiNet.from_trials(ner, trials["RE"] / "best")
    expected = model.extract(TEXTS)
    model.save_pretrained(tmp_path / "model")
    assert (tmp_path / "model" / "ner" / "tokenizer.json").is_file()
    request.getfixturevalue("no_encoder")
    assert LaiNet.from_pretrained(tmp_path / "model").extract(TEXTS) == expected


@pytest.mark.parametrize("first_is_shared", [True, False])
def test_saving_over_a_model_of_other_tokenizers_leaves_none_of_them(
    model: LaiNet, trials: dict[Phase, Path], tiny_encoder: str, tmp_path: Path, first_is_shared: bool
) -> None:
    other = Path(shutil.copytree(tiny_encoder, tmp_path / "encoder"))
    change(other / "tokenizer_config.json", "do_lower_case", value=False)
    parted = LaiNet.from_trials(make_trial(tmp_path / "ner", "NER", str(other)), trials["RE"] / "best")
    for item in (model, parted) if first_is_shared else (parted, model):
        item.save_pretrained(tmp_path / "model")
    last = parted if first_is_shared else model
    last.save_pretrained(tmp_path / "alone")
    names = [
        sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))
        for folder in (tmp_path / "model", tmp_path / "alone")
    ]
    assert names[0] == names[1]


def test_what_cannot_be_joined_or_read_is_said(
    model: LaiNet, trials: dict[Phase, Path], tmp_path: Path
) -> None:
    with pytest.raises(InputError, match="a model of phase NER is needed, but got one of RE"):
        LaiNet.from_trials(trials["RE"], trials["NER"])
    with pytest.raises(InputError, match="no trained model there"):
        LaiNet.from_trials(tmp_path, trials["RE"])
    (tmp_path / "training.json").write_text("{}")
    with pytest.raises(InputError, match="its training is not finished"):
        LaiNet.from_trials(tmp_path, trials["RE"])
    with pytest.raises(InputError, match="device 'abacus' is not to be had"):
        LaiNet.from_trials(trials["NER"], trials["RE"], device="abacus")
    with pytest.raises(InputError, match="put a single one into a list"):
        model.extract("a text")
    with pytest.raises(InputError, match="a text must be a string"):
        model.extract([5])  # type: ignore[list-item]
    with pytest.raises(InputError, match="texts must be a list of texts, but got NoneType"):
        model.extract(None)  # type: ignore[arg-type]


def test_a_sentence_that_is_too_long_is_said(model: LaiNet) -> None:
    with pytest.warns(UserWarning, match="1 sentence was cut at the models' limit: text 0, sentence 0"):
        long, short = model.extract([["word"] * 600, "short"])  # beyond the encoder's positions, too
    assert len(long.tokens) == 600
    assert (long.cut, short.cut) == ((0,), ())
    assert long.entities
    assert max(entity.end for entity in long.entities) < 150
    assert short == model.extract(["short"])[0]


def test_a_model_shows_in_one_line_what_it_is(model: LaiNet, tiny_encoder: str) -> None:
    labels = "entities Person, Place, relations Near, Born-In"
    assert repr(model) == f"LaiNet(encoder {tiny_encoder}, {labels}, on cpu)"


def test_lai_net_is_imported_without_torch() -> None:
    code = "import sys, lai_net; from lai_net import __version__; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
