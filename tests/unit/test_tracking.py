"""Trials in TensorBoard, MLflow and W&B: what their files say afterwards."""

import struct
from pathlib import Path
from unittest.mock import Mock

import pytest

from lai_net.config import TrialConfig
from lai_net.errors import InputError
from tests.unit.rows import trial_row
from tune.engine import Message, Task, failure
from tune.planning.jobs import Evaluating, Training
from tune.planning.plan import IdentifiedTrial
from tune.tracking import TrackingSink, callbacks_of, parse_trackers, tracking

EPOCH = Message("epoch", {"epoch": 1, "loss": 0.5, "dev": {"f1": 0.25, "precision": 0.5, "recall": 0.125}})
SCORE = {
    "task": "RE+",
    "protocol": "pure",
    "averaging": "micro",
    "precision": 0.5,
    "recall": 0.25,
    "f1": 0.75,
}
DONE = Message(
    "completed", {"wall_s": 1.0, "evaluations": [{"split": "test", "entities": "gold", "scores": [SCORE]}]}
)
SCORED = "test/gold/pure/micro/RE_plus/f1"


class Inner:
    def __init__(self) -> None:
        self.seen: list[str] = []

    def record(self, task: Task, message: Message) -> None:
        self.seen.append(message.event)


@pytest.fixture
def job() -> Training:
    row = trial_row(trial_id="abc", phase="RE", seed=3)
    return Training(IdentifiedTrial(row, TrialConfig(phase="RE")))


def told(trackers: list[str], job: Training, folder: Path, *messages: Message) -> list[str]:
    inner = Inner()
    with tracking(inner, {"abc": job}, parse_trackers(trackers), "study", folder) as sink:
        for message in messages:
            sink.record(Task("abc", 2, ""), message)
    return inner.seen


def scalars(folder: Path) -> dict[str, float]:
    """The last value of every scalar in record files: length, its checksum, event, its checksum."""
    from tensorboardX.proto.event_pb2 import Event

    values = {}
    for path in sorted(folder.glob("events.*")):
        data = path.read_bytes()
        while data:
            (length,) = struct.unpack("<Q", data[:8])
            event, data = Event.FromString(data[12 : 12 + length]), data[16 + length :]
            values.update({item.tag: item.simple_value for item in event.summary.value if item.tag})
    return values


def test_tensorboard_shows_epochs_and_scores_of_an_attempt(job, tmp_path):
    assert told(["tensorboard"], job, tmp_path, Message("started"), EPOCH, DONE) == [
        "started",
        "epoch",
        "completed",
    ]
    shown = scalars(tmp_path / "abc-2")
    assert shown["ray/tune/dev/f1"] == 0.25
    assert shown["ray/tune/loss"] == 0.5
    assert shown[f"ray/tune/{SCORED}"] == 0.75


def test_without_a_tracker_there_is_no_folder(job, tmp_path):
    assert told([], job, tmp_path, Message("started"), EPOCH, DONE) == ["started", "epoch", "completed"]
    assert not list(tmp_path.iterdir())


def test_mlflow_shows_settings_epochs_scores_and_the_end(job, tmp_path, monkeypatch):
    mlflow = pytest.importorskip("mlflow")
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    where = (tmp_path / "runs").as_uri()
    told([f"mlflow={where}"], job, tmp_path, Message("started"), EPOCH, DONE)
    told([f"mlflow={where}"], job, tmp_path, Message("started"), failure("boom", retryable=False))
    client = mlflow.MlflowClient(where)
    experiment = client.get_experiment_by_name("study")
    failed, done = client.search_runs([experiment.experiment_id], order_by=["attributes.start_time DESC"])
    assert (done.info.run_name, done.info.status, failed.info.status) == ("abc-2", "FINISHED", "FAILED")
    assert done.data.params["seed"] == "3"
    assert done.data.params["training.epochs"] == str(job.trial.config.training.epochs)
    assert done.data.metrics["dev/f1"] == 0.25
    assert done.data.metrics[SCORED] == 0.75
    assert done.data.tags["trial_name"] == "abc-2"


@pytest.mark.slow
@pytest.mark.ray
def test_wandb_keeps_a_run_of_each_attempt(job, tmp_path, monkeypatch):
    wandb = pytest.importorskip("wandb")
    from tune.cluster.connection import cluster

    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.delenv("WANDB_API_KEY", raising=False)
    with cluster(gpus=0):
        told(["wandb=project"], job, tmp_path, Message("started"), EPOCH, DONE)
    wandb.teardown()
    (run,) = (tmp_path / "abc-2" / "wandb").glob("offline-run-*-abc-2/run-abc-2.wandb")
    assert b"training.epochs" in run.read_bytes()
    assert SCORED.encode() in run.read_bytes()


def test_wandb_has_written_all_before_its_actor_can_be_killed(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # the actor changes folder and this variable, in a process of its own
    monkeypatch.setenv("WANDB_START_METHOD", "thread")
    pytest.importorskip("wandb")
    from ray.air.integrations.wandb import _QueueItem

    from tune.wandb_callback import FlushingWandbCallback

    queue = Mock(get=Mock(return_value=(_QueueItem.END, None)))
    actor = FlushingWandbCallback._logger_actor_cls(str(tmp_path), queue, exclude=[], to_config=[])
    actor._wandb = Mock()
    actor.run()
    assert [name for name, _, _ in actor._wandb.mock_calls][-2:] == ["finish", "teardown"]


class Broken:
    """A tracker whose server goes away."""

    def __init__(self) -> None:
        self.calls = 0

    def __getattr__(self, name: str) -> object:
        def fail(*_: object, **__: object) -> None:
            self.calls += 1
            raise ConnectionError("server\nis gone")

        return fail


def test_a_tracker_that_fails_is_left_out_and_the_study_goes_on(job, tmp_path, capsys):
    broken, inner = Broken(), Inner()
    sink = TrackingSink(inner, {"abc": job}, "study", tmp_path, {"mlflow": broken})
    for message in (Message("started"), EPOCH, DONE):
        sink.record(Task("abc", 1, ""), message)
    sink.close()
    assert inner.seen == ["started", "epoch", "completed"]
    assert broken.calls == 1
    assert capsys.readouterr().err == "--track mlflow: server; going on without it\n"


def test_a_tracker_whose_folder_cannot_be_made_is_left_out_and_one_without_files_goes_on(
    job, tmp_path, monkeypatch, capsys
):
    mlflow = pytest.importorskip("mlflow")
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    folder, where = tmp_path / "tracking", (tmp_path / "runs").as_uri()
    folder.write_text("a file")
    seen = told(["tensorboard", f"mlflow={where}"], job, folder, Message("started"), EPOCH)
    assert seen == ["started", "epoch"]
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("--track tensorboard: ")
    assert line.endswith("abc-2'; going on without it")
    client = mlflow.MlflowClient(where)
    (run,) = client.search_runs([client.get_experiment_by_name("study").experiment_id])
    assert (run.info.status, run.data.metrics["dev/f1"]) == ("FAILED", 0.25)


def test_wandb_starts_no_actor_where_its_folder_cannot_be_made(job, tmp_path, monkeypatch):
    pytest.importorskip("wandb")
    from tune.wandb_callback import FlushingWandbCallback

    callback, start = FlushingWandbCallback(project="p"), Mock()
    monkeypatch.setattr(callback, "_start_logging_actor", start)
    sink = TrackingSink(Inner(), {"abc": job}, "study", tmp_path, {"wandb": callback})
    sink.record(Task("abc", 1, ""), Message("started"))
    start.assert_called_once()
    (tmp_path / "abc-2").write_text("a file")
    sink.record(Task("abc", 2, ""), Message("started"))
    start.assert_called_once()
    assert sink.callbacks == {}


class Listening:
    def __init__(self) -> None:
        self.calls: list[tuple[str, object]] = []

    def log_trial_start(self, trial: object) -> None:
        self.calls.append(("start", str(trial)))

    def log_trial_end(self, trial: object, failed: bool = False) -> None:
        self.calls.append(("failed" if failed else "end", str(trial)))

    def log_trial_result(self, iteration: int, trial: object, result: dict[str, object]) -> None:
        self.calls.append(("result", iteration))

    def on_experiment_end(self, trials: list[object]) -> None:
        self.calls.append(("closed", len(trials)))


def test_an_interrupted_attempt_ends_as_failed_and_evaluations_are_not_shown(job, tmp_path):
    listening = Listening()
    evaluation = Evaluating(job.trial, "other", "predicted", ("test",), ())
    jobs = {"abc": job, evaluation.key: evaluation}
    sink = TrackingSink(Inner(), jobs, "study", tmp_path, {"mlflow": listening})
    sink.record(Task(evaluation.key, 1, ""), Message("started"))
    sink.record(Task("probe of a shape", 1, ""), Message("started"))
    sink.record(Task("abc", 1, ""), Message("started"))
    sink.record(Task("abc", 1, ""), EPOCH)
    sink.close()
    assert listening.calls == [("start", "abc-1"), ("result", 1), ("failed", "abc-1"), ("closed", 0)]


@pytest.mark.parametrize(("error", "is_closed"), [(OSError("disk full"), True), (KeyboardInterrupt(), False)])
def test_trackers_are_closed_when_a_run_breaks_off_but_not_waited_for_at_a_second_ctrl_c(
    job, tmp_path, monkeypatch, error, is_closed
):
    listening = Listening()
    monkeypatch.setattr("tune.tracking.callbacks_of", lambda *_: {"mlflow": listening})
    with pytest.raises(type(error)), tracking(Inner(), {"abc": job}, {"mlflow": None}, "study", tmp_path):
        raise error
    assert (("closed", 0) in listening.calls) == is_closed


def test_a_sink_that_refuses_ends_the_run_before_a_tracker_hears(job, tmp_path):
    class Full(Inner):
        def record(self, task: Task, message: Message) -> None:
            raise OSError("disk full")

    listening = Listening()
    sink = TrackingSink(Full(), {"abc": job}, "study", tmp_path, {"mlflow": listening})
    with pytest.raises(OSError, match="disk full"):
        sink.record(Task("abc", 1, ""), Message("started"))
    assert listening.calls == []


@pytest.mark.parametrize(
    ("option", "said"),
    [
        ("comet", "not a tracker; take one of tensorboard, mlflow, wandb"),
        ("tensorboard=/elsewhere", "name no place"),
        ("wandb=project", "unset it and call `wandb login` once"),
    ],
)
def test_what_cannot_be_tracked_is_refused_before_anything_runs(option, said, monkeypatch):
    monkeypatch.setenv("WANDB_API_KEY", "secret")
    with pytest.raises(InputError, match=said) as refused:
        parse_trackers([option])
    assert "secret" not in str(refused.value)


def test_a_missing_package_is_named(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    with pytest.raises(InputError, match=r"tensorboardX is missing; pip install 'lai-tune\[tracking\]'"):
        parse_trackers(["tensorboard"])


def test_a_tracker_that_cannot_be_set_up_is_one_line(monkeypatch):
    pytest.importorskip("mlflow")
    monkeypatch.delenv("MLFLOW_ALLOW_FILE_STORE", raising=False)
    with pytest.raises(InputError, match=r"^--track mlflow: ") as refused:
        callbacks_of({"mlflow": "wrong://place"}, "study")
    assert "\n" not in str(refused.value)
