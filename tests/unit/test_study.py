"""Reading a study: what is taken, and that every mistake is one line with its place."""

from pathlib import Path

import pytest

from lai_net.errors import InputError
from tune.spec.study import load_study, study_names

MINIMAL = 'name = "s"\nseeds = [3, 1]\n[[datasets]]\nname = "d"\n[datasets.ner]\npreset = "demo-ner"\n'


def write(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "study.toml"
    path.write_text(text, encoding="utf-8")
    return path


def test_minimal_study_has_the_documented_defaults(tmp_path: Path) -> None:
    study = load_study(write(tmp_path, MINIMAL))
    dataset = study.datasets[0]
    assert study.seeds == (3, 1)
    assert (dataset.corpus, dataset.averaging, dataset.fold_numbers) == (None, "micro", (None,))
    assert (study.upstream, study.report.split, study.budget.max_attempts) == ("base", "test", 3)


def test_a_count_of_seeds_starts_at_zero(tmp_path: Path) -> None:
    assert load_study(write(tmp_path, MINIMAL.replace("[3, 1]", "3"))).seeds == (0, 1, 2)


def test_folds_are_numbered_from_zero(tmp_path: Path) -> None:
    text = MINIMAL.replace('name = "d"', 'name = "d"\nfolds = 3')
    assert load_study(write(tmp_path, text)).datasets[0].fold_numbers == (0, 1, 2)


def test_some_folds_alone_may_be_taken(tmp_path: Path) -> None:
    text = MINIMAL.replace('name = "d"', 'name = "d"\nfolds = 3\nonly_folds = [2, 0]')
    assert load_study(write(tmp_path, text)).datasets[0].fold_numbers == (2, 0)


def test_paths_are_relative_to_the_study_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = MINIMAL.replace('name = "d"', 'name = "d"\ncorpus = "../data"\nannotations = "mine.toml"')
    path = write(tmp_path, text.replace("demo-ner", "own/ner.toml"))
    monkeypatch.chdir("/")
    dataset = load_study(path).datasets[0]
    assert dataset.corpus == str(tmp_path.parent / "data")
    assert dataset.annotations == str(tmp_path / "mine.toml")
    assert dataset.ner is not None
    assert dataset.ner.preset == str(tmp_path / "own" / "ner.toml")


def test_embedded_corpus_is_no_path(tmp_path: Path) -> None:
    text = MINIMAL.replace('name = "d"', 'name = "d"\ncorpus = "embedded"')
    assert load_study(write(tmp_path, text)).datasets[0].corpus == "embedded"


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("preset =", "presett =", "datasets[0].ner: unknown key 'presett'; known: plmarker, preset, set"),
        ("seeds = [3, 1]\n", "", "study.toml: key 'seeds' is missing"),
        ("[3, 1]", "[1, 1]", "seeds: must be distinct"),
        ("[3, 1]", "[]", "seeds: needs at least one"),
        ("[3, 1]", "0", "seeds: must be at least one seed, or a list, but got 0"),
        ("[3, 1]", "[-1]", "seeds[0]: "),
        ("[3, 1]", '"2"', "seeds: must be a count, or a list of integers, but got '2'"),
        ("[3, 1]", "true", "seeds: "),
        ("[3, 1]", '["1"]', "seeds[0]: "),
        ("[3, 1]", "[1.0]", "seeds[0]: "),
        ("[3, 1]", "1000000000000", "seeds: must be at most 10000, but got 1000000000000"),
        ("[3, 1]", str(list(range(10_001))), "seeds: takes at most 10000, but has 10001"),
        ('"d"', '"d"\nfolds = 100000000000', "datasets[0].folds: input should be less than or equal to 1000"),
        ('"demo-ner"', '"a\\u0000b"', "datasets[0].ner.preset: must not hold a NUL"),
        ('"d"', '"d"\nannotations = "a\\u0000.toml"', "datasets[0].annotations: must not hold a NUL"),
        ('"d"', '"d"\ncorpus = "a\\u0000b"', "datasets[0].corpus: "),
        ('"d"', '"d"\ncorpus = "~nouser/x"', "datasets[0].corpus: is no path"),
        ('"s"', '"../s"', "name: "),
        ('"d"', '"d"\nfolds = 0', "datasets[0].folds: "),
        ('"d"', '"d"\nfolds = 3\nonly_folds = [3]', "datasets[0]: only_folds must be from 0 to 2, but has 3"),
        ('"d"', '"d"\nfolds = 3\nonly_folds = [1, 1]', "datasets[0].only_folds: must be distinct"),
        ('"d"', '"d"\nonly_folds = [0]', "datasets[0]: only_folds is for a corpus with folds"),
        ("[datasets.ner]", "[datasets.NER]", "unknown key 'NER'; known: annotations, averaging, corpus"),
        ('[datasets.ner]\npreset = "demo-ner"', "", "datasets[0]: needs a phase"),
        ("[[datasets]]", "[factors]\nmask = ['inv']\n[[datasets]]", "factors.mask[0]: "),
        (MINIMAL.split("\n", 2)[2], "datasets = []", "datasets: needs at least one"),
        ("[[datasets]]", "[datasets]", "datasets: must be a list: write [[datasets]]"),
        ("[[datasets]]", "[[factors]]\n[[datasets]]", "factors: must be a table: write [factors]"),
        (
            "[[datasets]]",
            "[factors]\nmask = 'Inv.'\n[[datasets]]",
            "factors.mask: must be a list, but got 'I",
        ),
        ("[[datasets]]", "[factors.mask]\n[[datasets]]", "factors.mask: must be a list"),
        ('"d"', '"d"\nfolds = 3\nonly_folds = []', "datasets[0].only_folds: needs at least one"),
        ("[datasets.ner]", "[[datasets.ner]]", "datasets[0].ner: must be a table, but got [{'preset': 'd"),
        (
            "[[datasets]]",
            "[factors]\ngcn_layers = [1, 1]\n[[datasets]]",
            "factors.gcn_layers: must be distinct",
        ),
        ('"s"', "2020-01-01", "name: no key takes a date or a time, but got 2020-01-01; put it in quotes"),
        ('"demo-ner"', "07:32:00", "datasets[0].ner.preset: no key takes a date or a time"),
        ("[3, 1]", f"[3, {2**63}]", "seeds[1]: an integer must have at most 64 bits, but got 92233"),
        ("[[datasets]]", f"[budget]\nhours = 1{'0' * 400}\n[[datasets]]", "budget.hours: an integer must"),
        (
            'preset = "demo-ner"',
            'preset = "demo-ner"\nset = { "graph.layers" = 1, graph = { layers = 0 } }',
            "datasets[0].ner.set: graph.layers is given twice; keep one",
        ),
        ("[[datasets]]", "[resources]\ncpus_per_trial = 0\n[[datasets]]", "resources.cpus_per_trial: "),
        ("[[datasets]]", "[budget]\nhours = nan\n[[datasets]]", "budget.hours: "),
        (
            "[[datasets]]",
            "[report]\ntask = 'NER'\n[[datasets]]",
            "known: entities, interval, protocol, split",
        ),
    ],
)
def test_a_mistake_is_one_line_with_file_and_place(tmp_path: Path, old: str, new: str, message: str) -> None:
    path = write(tmp_path, MINIMAL.replace(old, new, 1))
    with pytest.raises(InputError) as caught:
        load_study(path)
    assert str(caught.value).startswith(f"{path}: ")
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (f"{MINIMAL}[resources]\ngpus_per_trial = 1.5\n", "resources.gpus_per_trial: must be whole beyond 1"),
        (MINIMAL.replace("[3, 1]", f"[{2**32 - 1}]") + "[decide]\nmax_seeds = 2\n", "below 2**32"),
        ("a = " + "[" * 5000 + "]" * 5000, "cannot be read as TOML"),
    ],
)
def test_what_would_fail_only_in_the_run_is_refused(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(InputError) as caught:
        load_study(write(tmp_path, text))
    assert message in str(caught.value)


def test_dataset_names_are_distinct(tmp_path: Path) -> None:
    twice = MINIMAL + '[[datasets]]\nname = "d"\n[datasets.re]\npreset = "demo-re"\n'
    with pytest.raises(InputError, match="distinct names, but got d, d"):
        load_study(write(tmp_path, twice))


def test_bad_toml_names_line_and_column(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"study.toml: .*line 2, column 12"):
        load_study(write(tmp_path, 'name = "s"\nseeds = [1]]'))


def test_bytes_that_are_no_text_are_refused(tmp_path: Path) -> None:
    (tmp_path / "study.toml").write_bytes(b"\xff\xfe")
    with pytest.raises(InputError, match="cannot be read as TOML"):
        load_study(tmp_path / "study.toml")


def test_unknown_study_names_those_that_ship() -> None:
    with pytest.raises(InputError, match=r"nope: no such study; .*demo.*paper-ade"):
        load_study("nope")


@pytest.mark.parametrize("name", ["foo/demo", "./demo", "x" * 300])
def test_only_a_bare_name_means_a_study_that_ships(name: str) -> None:
    with pytest.raises(InputError, match=r"no such study|cannot be read"):
        load_study(name)


def test_a_folder_of_that_name_does_not_hide_a_study_that_ships(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "demo").mkdir()
    monkeypatch.chdir(tmp_path)
    assert load_study("demo").name == "demo"


def test_byte_order_mark_is_no_part_of_a_study(tmp_path: Path) -> None:
    assert load_study(write(tmp_path, "\ufeff" + MINIMAL)).name == "s"


@pytest.mark.parametrize("name", study_names())
def test_shipped_study_loads_by_name_and_is_called_so(name: str) -> None:
    assert load_study(name).name == name
