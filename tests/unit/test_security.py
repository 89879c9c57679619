"""What comes from files is data: nothing of it runs, leads out of its folder, or tells a secret."""

import ast
import hashlib
import json
import os
import pickle
import shutil
import socket
import sqlite3
import tomllib
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import pytest
from safetensors import SafetensorError

from analysis.__main__ import main
from lai_net.corpora.loading import load_corpus
from lai_net.errors import InputError
from lai_net.schema import Corpus
from tests.unit.rows import trial_row
from tune.artefacts.port import is_inside, is_one_name
from tune.artefacts.storage import check_storage, store_in
from tune.execution import Execution
from tune.ledger.ledger import Ledger
from tune.planning.trained_model import trained_model_folder
from tune.spec.study import load_study

REPOSITORY = Path(__file__).parents[2]
MODULES = [path for name in ("lai_net", "tune", "analysis") for path in (REPOSITORY / name).rglob("*.py")]
RUNNING = {"pickle", "cPickle", "dill", "cloudpickle", "joblib", "marshal", "shelve", "yaml", "runpy"}
CALLS = {"eval", "exec", "compile", "__import__", "os.system", "os.popen", "torch.load", "pd.read_pickle"}
ALLOWING = ("shell", "allow_pickle", "trust_remote_code")


def findings(source: str) -> list[str]:
    """Whatever could run what a file holds."""
    found = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found += [item.name for item in node.names if item.name.split(".")[0] in RUNNING]
        elif isinstance(node, ast.ImportFrom):
            found += [node.module] if (node.module or "").split(".")[0] in RUNNING else []
        elif isinstance(node, ast.Call):
            name = ast.unparse(node.func)
            words = {word.arg: ast.unparse(word.value) for word in node.keywords}
            is_allowing = any(words.get(word, "False") != "False" for word in ALLOWING)
            if name in CALLS or name.endswith(".extractall") or is_allowing:
                found.append(name)
    return found


def test_no_module_can_run_what_a_file_holds() -> None:
    assert {str(path): found for path in MODULES if (found := findings(path.read_text()))} == {}
    assert len(MODULES) > 100


@pytest.mark.parametrize(
    "source",
    ["import pickle", "from yaml import load", "eval('1')", "torch.load(path)", "run(x, shell=True)",
     "np.load(path, allow_pickle=True)", "tar.extractall(folder)"],
)  # fmt: skip
def test_the_look_at_modules_sees(source: str) -> None:
    assert findings(source)


@pytest.mark.parametrize(("package", "floor"), [("ray[tune]", "2.60"), ("torch", "2.10")])
def test_versions_with_known_holes_are_not_installed(package: str, floor: str) -> None:
    """Ray's tokens and dashboard, torch's reading of weights."""
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]
    (least,) = [text for text in project["dependencies"] if text.partition(">=")[0] == package]
    assert tuple(map(int, least.partition(">=")[2].split("."))) >= tuple(map(int, floor.split(".")))


class Bomb:
    """Makes a folder where it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self):
        return (os.mkdir, (str(self.path),))


@pytest.fixture
def bomb(tmp_path: Path) -> Iterator[bytes]:
    fired = tmp_path / "fired"
    content = pickle.dumps(Bomb(fired))
    yield content
    assert not fired.exists()
    pickle.loads(content)
    assert fired.exists(), "it would have"


def test_study_and_ledger_and_corpus_that_are_pickles(bomb: bytes, tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_bytes(bomb)
    with pytest.raises(InputError, match="cannot be read as TOML"):
        load_study(path)
    with pytest.raises(InputError, match="ledger"):
        Ledger.open(path)
    (tmp_path / "corpus").mkdir()
    for split in ("train", "dev", "test"):
        (tmp_path / "corpus" / f"{split}.json").write_bytes(bomb)
    with pytest.raises(InputError):
        load_corpus(str(tmp_path / "corpus"), name="c")


def test_ledger_row_that_is_a_pickle(bomb: bytes, tmp_path: Path) -> None:
    path = a_ledger(tmp_path)
    with sqlite3.connect(path) as file:
        file.execute("UPDATE attempt SET artefacts = ?", (bomb.decode("latin-1"),))
    with Ledger.open(path, read_only=True) as ledger, pytest.raises(InputError, match="damaged"):
        ledger.newest_attempts()


def test_checkpoint_and_weights_that_are_pickles(bomb: bytes, tmp_path: Path, tiny_encoder: str) -> None:
    from lai_net.extractor import LaiNet
    from lai_net.pipeline import evaluate_trial

    folder = tmp_path / "model"
    folder.mkdir()
    for name in ("model.safetensors", "config.json", "optimizer.safetensors", "state.json"):
        (folder / name).write_bytes(bomb)
    with pytest.raises((InputError, ValueError)):
        LaiNet.from_pretrained(folder)
    with pytest.raises((InputError, ValueError)):
        evaluate_trial(folder, load_corpus("embedded", name="demo"), "dev", upstream_dir=None, device="cpu")


@pytest.mark.parametrize("name", ["model.safetensors", "optimizer.safetensors"])
def test_checkpoint_whose_tensors_are_a_pickle_is_not_gone_on_from(
    bomb: bytes, tmp_path: Path, tiny_encoder: str, corpus: Corpus, name: str
) -> None:
    """Its digests are right, as whoever puts it there would make them."""
    from lai_net.pipeline import train_trial
    from tests.unit.test_training import small

    config = small("NER", tiny_encoder, filter__cold_epochs=0)
    list(islice(train_trial(config, 1, corpus, tmp_path / "attempt-1"), 1))
    (state,) = (tmp_path / "attempt-1").glob("epoch-*/state.json")
    stored = json.loads(state.read_text())
    state.with_name(name).write_bytes(bomb)
    stored["sha256"][name] = hashlib.sha256(bomb).hexdigest()
    state.write_text(json.dumps(stored))
    resumed = train_trial(config, 1, corpus, tmp_path / "attempt-2", resume_from=[tmp_path / "attempt-1"])
    with pytest.raises((InputError, SafetensorError), match="header"):
        next(resumed)


@pytest.mark.parametrize("name", ["model.safetensors", "pytorch_model.bin"])
def test_encoder_whose_weights_are_a_pickle(
    bomb: bytes, tmp_path: Path, tiny_encoder: str, name: str
) -> None:
    from transformers import AutoModel

    folder = tmp_path / "encoder"
    shutil.copytree(tiny_encoder, folder)
    (folder / "model.safetensors").unlink()
    (folder / name).write_bytes(bomb)
    with pytest.raises(Exception, match=r"(?i)weights|header|safetensors|pickle"):
        AutoModel.from_pretrained(folder)


@pytest.mark.parametrize("name", ["../x", "a/../../x", "/etc", "", ".", "a\0b"])
def test_names_that_lead_out(name: str) -> None:
    assert not is_inside(name) or name == ""
    assert not is_one_name(name)


def test_names_that_stay() -> None:
    assert is_inside("artifacts/0a/attempt-1/best")
    assert is_one_name("0a1b")
    assert not is_one_name("a/b")


def a_ledger(folder: Path) -> Path:
    """A ledger with one completed trial."""
    path = folder / "ledger.sqlite"
    row = trial_row(trial_id="0a", dataset="d")
    with Ledger.open(path) as ledger:
        ledger.register_trials([row])
        ledger.start_attempt("0a", 1, {})
        ledger.finish_attempt("0a", 1, "completed", artefacts={"best": "artifacts/0a/attempt-1/best"})
    return path


@pytest.mark.parametrize("best", ["../../home", "/etc", "artifacts/../../x"])
def test_artefact_of_a_row_that_leads_out(tmp_path: Path, best: str) -> None:
    path = a_ledger(tmp_path)
    with sqlite3.connect(path) as file:
        file.execute("UPDATE attempt SET artefacts = ?", (json.dumps({"best": best}),))
    with pytest.raises(InputError, match="leaves the ledger's folder"):
        trained_model_folder("0a", path)


def test_trial_id_that_leads_out_deletes_nothing(tmp_path: Path) -> None:
    """What is stale of a completed trial is deleted below the folder of its name."""
    home = tmp_path / "home"
    (home / "attempt-1").mkdir(parents=True)
    (tmp_path / "runs").mkdir()
    path = a_ledger(tmp_path / "runs")
    with sqlite3.connect(path) as file:
        file.executescript(
            "UPDATE trial SET trial_id = '../../home'; UPDATE attempt SET trial_id = '../../home'"
        )
    with Ledger.open(path) as ledger, pytest.raises(InputError, match="leaves the ledger's folder"):
        Execution(ledger, path.parent, {}, 0.0).delete_all_stale()
    assert (home / "attempt-1").is_dir()


@pytest.mark.parametrize("name", ["../x", "a/b", "..", "/x"])
def test_name_of_a_study_or_dataset_is_no_path(tmp_path: Path, name: str) -> None:
    text = 'name = "{}"\nseeds = 1\n[[datasets]]\nname = "{}"\n[datasets.ner]\npreset = "demo-ner"\n'
    path = tmp_path / "study.toml"
    for names in ((name, "d"), ("s", name)):
        path.write_text(text.format(*names))
        with pytest.raises(InputError, match="name"):
            load_study(path)


def test_imported_table_whose_dataset_is_a_path(result_row, imported, tmp_path: Path) -> None:
    phase = '[datasets.ner]\npreset = "paper-scierc-ner"\n'
    study = f'name = "s"\nseeds = [1]\n[[datasets]]\nname = "SciERC"\n{phase}'
    made = imported(study, [result_row(0.5), result_row(0.6, dataset="../../evil")])
    before = set(tmp_path.rglob("*"))
    with pytest.raises(SystemExit):
        main(
            [
                "report",
                str(made.study),
                "--ledger",
                str(made.ledger),
                "--out",
                str(tmp_path / "in" / "report"),
            ]
        )
    new = set(tmp_path.rglob("*")) - before
    assert all(path.is_relative_to(tmp_path / "in") for path in new)
    assert not list(tmp_path.parent.glob("evil*"))


def test_a_link_that_leads_nowhere_is_refused(tmp_path: Path) -> None:
    check_storage(tmp_path)
    link = tmp_path / "artifacts"
    link.symlink_to(tmp_path / "gone")
    with pytest.raises(InputError, match=r"artifacts: links to .*gone, which is not there; mount it"):
        check_storage(tmp_path)
    (tmp_path / "gone").mkdir()
    check_storage(tmp_path)


def test_storage_of_another_ledger_is_refused(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
    store_in(str(tmp_path / "shared"), tmp_path / "a")
    store_in(str(tmp_path / "shared"), tmp_path / "a")
    assert (tmp_path / "a" / "artifacts").resolve() == tmp_path / "shared" / "artifacts"
    with pytest.raises(InputError, match="another ledger's"):
        store_in(str(tmp_path / "shared"), tmp_path / "b")
    with pytest.raises(InputError, match=r"lie in .* already"):
        store_in(str(tmp_path / "other"), tmp_path / "a")


def test_a_copied_ledger_does_not_share_the_storage(tmp_path: Path) -> None:
    own, shared = tmp_path / "own", tmp_path / "shared"
    own.mkdir()
    store_in(str(shared), own)
    check_storage(own)
    shutil.copytree(own, tmp_path / "copy", symlinks=True)
    with pytest.raises(InputError, match=r"is another ledger's \(.*/own\).*If this is a copy, remove"):
        check_storage(tmp_path / "copy")
    moved = own.rename(tmp_path / "moved")
    check_storage(moved)
    assert f":{moved}\n" in (shared / "ledger.txt").read_text()


@pytest.mark.parametrize(
    ("host", "path", "number", "is_ours"),
    [
        ("{host}", "{path}", "", True),  # as earlier versions wrote it
        ("{host}", "{path}", "1", True),  # restored
        ("elsewhere", "{path}", "{number}", True),  # mounted by another host
        ("elsewhere", "{path}", "1", False),  # copied to another host
        ("elsewhere", "{path}", "", False),
        ("{host}", "/other", "", False),
    ],
)
def test_two_of_three_signs_tell_a_ledger_again(
    tmp_path: Path, host: str, path: str, number: str, is_ours: bool
) -> None:
    own, note = tmp_path / "own", tmp_path / "shared" / "ledger.txt"
    own.mkdir()
    store_in(str(tmp_path / "shared"), own)
    signs = {"host": socket.gethostname(), "path": own, "number": own.stat().st_ino}
    before = note.read_text()
    note.write_text(f"{host}:{path}\n{number}\n".format(**signs))
    if is_ours:
        check_storage(own)
        assert note.read_text() == before
    else:
        with pytest.raises(InputError, match=f"write {signs['host']}:{own} into ledger.txt there"):
            check_storage(own)
        note.write_text(f"{signs['host']}:{own}\n")
        check_storage(own)


def test_secrets_of_the_environment_are_stored_nowhere(
    tmp_path: Path, tiny_encoder: str, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """A run that trains, one that fails, and the report on them."""
    import contextlib

    from tune.commands import run as run_command
    from tune.engine import SerialEngine
    from tune.trainable import execute

    secret = "s3cr3t-5f0c1a"
    for name in ("RAY_AUTH_TOKEN", "HF_TOKEN", "WANDB_API_KEY", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, secret)
    engine = SerialEngine(execute)
    monkeypatch.setattr(run_command, "_ray_engine", lambda *_: contextlib.nullcontext(engine))
    study = tmp_path / "study.toml"
    study.write_text(
        'name = "s"\nseeds = [1]\n[[datasets]]\nname = "demo"\ncorpus = "embedded"\n[datasets.ner]\n'
        'preset = "demo-ner"\n[datasets.ner.set]\n"training.epochs" = 1\n"filter.cold_epochs" = 0\n'
        f'"encoder.name" = "{tiny_encoder}"\n'
    )
    ledger = tmp_path / "runs" / "ledger.sqlite"
    with pytest.raises(SystemExit) as end:
        main(["run", str(study), "--ledger", str(ledger)])
    assert not end.value.code, capfd.readouterr().err
    monkeypatch.setattr("lai_net.pipeline.train_trial", lambda *_, **__: 1 / 0)
    study.write_text(study.read_text().replace("seeds = [1]", "seeds = [1, 2]"))
    with pytest.raises(SystemExit) as end:
        main(["run", str(study), "--ledger", str(ledger)])
    assert end.value.code == 1
    with pytest.raises(SystemExit):
        main(["report", str(study), "--ledger", str(ledger), "--out", str(tmp_path / "report")])
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert {"ledger.sqlite", "model.safetensors", "index.html"} <= {path.name for path in files}
    assert [path for path in files if secret.encode() in path.read_bytes()] == []
    assert secret not in "".join(capfd.readouterr())
