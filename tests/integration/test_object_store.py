"""Artefacts in an object store, against an S3 server on this machine."""

import os
import sys
import time
from pathlib import Path
from unittest.mock import Mock

import pytest

from lai_net.errors import InputError
from tests.integration.object_store import S3
from tune.artefacts.object_store import ObjectStore
from tune.artefacts.storage import check_storage, model_folder, storage_of, store_in


@pytest.fixture(autouse=True)
def own_copies(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of its own for what is fetched."""
    folder = tmp_path / "tmp"
    folder.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(folder))
    return folder / f"lai-tune-{os.getuid()}"


@pytest.fixture
def store(s3: S3) -> ObjectStore:
    return ObjectStore(s3.uri)


def publish(store: ObjectStore, number: int = 1, **files: str) -> None:
    with store.attempt("t", number) as attempt:
        for name, text in files.items():
            path = attempt.folder / name.replace("__", "/")
            path.parent.mkdir(exist_ok=True)
            path.write_text(text)
        attempt.publish()


def names(store: ObjectStore) -> list[str]:
    return sorted(name for name, size in store.sizes().items() if size)


def test_an_attempt_is_published_as_it_is_and_goes_on_elsewhere(store: ObjectStore) -> None:
    with store.attempt("t", 1) as attempt:
        (attempt.folder / "epoch-0001").mkdir()
        (attempt.folder / "epoch-0001" / "model").write_text("one")
        attempt.publish()
        assert names(store) == ["t/attempt-1/epoch-0001/model", "t/attempt-1/published.json"]
        (attempt.folder / "epoch-0001").rename(attempt.folder / "epoch-0002")
        attempt.publish()
        scratch = attempt.folder
    assert not scratch.exists()
    assert names(store) == ["t/attempt-1/epoch-0002/model", "t/attempt-1/published.json"]
    with store.attempt("t", 3) as attempt:
        assert [(path.name, (path / "epoch-0002" / "model").read_text()) for path in attempt.earlier] == [
            ("attempt-1", "one")
        ]
        assert list(attempt.folder.iterdir()) == []


def test_half_an_upload_is_never_taken(store: ObjectStore, monkeypatch: pytest.MonkeyPatch) -> None:
    publish(store, epoch__model="one")
    upload = ObjectStore.upload

    def dies(self: ObjectStore, source: Path, name: str) -> str:
        if source.name == "z":
            raise OSError("the worker died here")
        return upload(self, source, name)

    monkeypatch.setattr(ObjectStore, "upload", dies)
    with pytest.raises(OSError, match="died here"):
        publish(store, 2, a="new", z="new")
    assert "t/attempt-2/a" in names(store)
    with store.attempt("t", 3) as attempt:
        assert [path.name for path in attempt.earlier] == ["attempt-1"]


def test_what_arrives_otherwise_than_it_was_sent_is_passed_over_or_refused(store: ObjectStore) -> None:
    publish(store, best__model="one")
    publish(store, 2, best__model="two")
    store.write("t/attempt-2/best/model", "tw")
    with store.attempt("t", 3) as attempt:
        assert [path.name for path in attempt.earlier] == ["attempt-1"]
    with pytest.raises(InputError, match=r"attempt-2/best/model: is damaged; train again"):
        model_folder(store.place("t/attempt-2/best"))


@pytest.mark.parametrize("text", ["", "[]", '{"../../x": "0"}', '{"/x": "0"}'])
def test_list_of_files_that_cannot_be_trusted(store: ObjectStore, text: str) -> None:
    store.write("t/attempt-1/published.json", text)
    with pytest.raises(InputError, match=r"published.json: is damaged"):
        model_folder(store.place("t/attempt-1/best"))


def test_a_model_is_fetched_once_and_known_by_its_content(
    store: ObjectStore, own_copies: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    publish(store, best__model="one", epoch__optimizer="large")
    folder = model_folder(store.place("t/attempt-1/best"))
    assert [path.name for path in folder.iterdir()] == ["model"]
    long_ago = time.time() - 3 * 86400
    os.utime(folder.parent, (long_ago, long_ago))
    publish(store, 2, best__model="two")
    assert (model_folder(store.place("t/attempt-2/best")) / "model").read_text() == "two"
    assert not folder.exists(), "nobody asked for it for days"
    with monkeypatch.context() as patch:
        patch.setattr(ObjectStore, "_download", None)
        assert (model_folder(store.place("t/attempt-2/best")) / "model").read_text() == "two"
    with pytest.raises(InputError, match=r"t/attempt-9/best: is no longer there"):
        model_folder(store.place("t/attempt-9/best"))
    assert own_copies.stat().st_mode & 0o777 == 0o700


def test_a_kill_while_an_old_model_is_removed_leaves_none_that_is_half_there(
    store: ObjectStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    publish(store, best__model="one")
    folder = model_folder(store.place("t/attempt-1/best"))
    os.utime(folder.parent, (0, 0))
    with monkeypatch.context() as patch:
        killed = Mock(side_effect=KeyboardInterrupt)
        patch.setattr("shutil.rmtree", killed)
        patch.setattr("tempfile._rmtree", killed, raising=False)  # its name there up to Python 3.11.2
        with pytest.raises(KeyboardInterrupt):
            model_folder(store.place("t/attempt-1/best"))
    assert not folder.parent.exists()
    assert (model_folder(store.place("t/attempt-1/best")) / "model").read_text() == "one"


def test_a_uri_that_pyarrow_cannot_open_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InputError, match=r"cannot be opened \(Unexpected query parameter.*\); name a folder"):
        ObjectStore("s3://bucket/x?foo=1").read("any")
    monkeypatch.setitem(sys.modules, "pyarrow._gcsfs", None)  # as in a pyarrow that was built without it
    with pytest.raises(InputError, match=r"cannot be opened \(import of pyarrow._gcsfs .*\); name a folder"):
        ObjectStore("gs://anonymous@bucket/x").read("any")


@pytest.mark.parametrize("num_others", [0, 20])
def test_deleting_leaves_the_rest(store: ObjectStore, num_others: int) -> None:
    publish(store, best__model="one")
    publish(store, 2, best__model="two")
    store.delete(["t/attempt-1", "u", *(f"o{number}" for number in range(num_others))])
    assert names(store) == ["t/attempt-2/best/model", "t/attempt-2/published.json"]
    listed = store.read("t/attempt-2/published.json")
    assert store.size_gib() * 2**30 == pytest.approx(len("two") + len(listed))
    store.delete(["t"])
    assert names(store) == []


def test_a_ledger_names_its_store_and_no_other_takes_it(s3: S3, tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
    store_in(s3.uri, tmp_path / "a")
    store_in(s3.uri, tmp_path / "a")
    assert storage_of(tmp_path / "a") == ObjectStore(s3.uri)
    with pytest.raises(InputError, match="another ledger's"):
        store_in(s3.uri, tmp_path / "b")
    (tmp_path / "b" / "artifacts").touch()
    with pytest.raises(InputError, match=r"artifacts: names no store; write its URI there"):
        storage_of(tmp_path / "b")
    with pytest.raises(InputError, match=r"lie in s3://.*/study already"):
        store_in(str(tmp_path / "c"), tmp_path / "a")


def test_a_copied_ledger_or_an_emptied_store_is_one_line(s3: S3, tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
    store_in(s3.uri, tmp_path / "a")
    check_storage(tmp_path / "a")
    (tmp_path / "b" / "artifacts").write_text((tmp_path / "a" / "artifacts").read_text())
    with pytest.raises(InputError, match=r"leads to s3://.*, which is another ledger's \(.*/a\)"):
        check_storage(tmp_path / "b")
    ObjectStore(s3.uri).remove("ledger.txt")
    with pytest.raises(InputError, match=r"names s3://.*, which holds no ledger.txt.*give --storage"):
        check_storage(tmp_path / "a")
    (tmp_path / "a" / "artifacts").write_text("s3://no-such-bucket/study\n")
    with pytest.raises(
        InputError, match=r"s3://no-such-bucket/study, which holds no ledger.txt|NO_SUCH_BUCKET"
    ):
        check_storage(tmp_path / "a")


def test_the_query_of_a_uri_stays_its_query() -> None:
    store = ObjectStore("s3://bucket/study/?region=eu-central-1")
    assert store.place("t/attempt-1") == "s3://bucket/study/t/attempt-1?region=eu-central-1"
    assert ObjectStore("s3://bucket").place("t") == "s3://bucket/t"


@pytest.mark.parametrize(
    ("uri", "said"),
    [
        ("foo://bucket/x", "hdfs://, viewfs://; name one of those, or a folder"),
        ("mock://bucket/x", "is no store of"),
        ("fsspec+memory://bucket/x", "is no store of"),
        ("s3:///x", "names no bucket; write it as s3://BUCKET/STUDY"),
        ("file:///shared/x", "is a folder; name it as /shared/x"),
        ("s3://an-id:hidden-S3-word@bucket/x", "holds a secret"),
        ("s3://bucket/x?secret_key=hidden-S3-word", "holds a secret"),
        ("abfs://c@account.dfs.core.windows.net/x?sas_token=hidden-S3-word", "holds a secret"),
    ],
)
def test_a_uri_that_will_not_do_is_one_line_and_shows_no_secret(lai, tmp_path, uri: str, said: str) -> None:
    code, _, err = lai("run", "demo", "--ledger", tmp_path / "ledger.sqlite", "--storage", uri)
    assert code == 2
    assert said in err
    assert err.count("\n") == 1
    assert "hidden-S3-word" not in err
    assert not (tmp_path / "artifacts").exists()
