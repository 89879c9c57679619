"""What a worker is told, as frozen values with one JSON form. Torch-free; paths are absolute."""

from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import Field, TypeAdapter

from lai_net.config import TrialConfig


@dataclass(frozen=True, kw_only=True, slots=True)
class CorpusSource:
    """Where a corpus lies and what it must contain.

    Attributes:
        source, name, format, annotations, fold: as `lai_net.corpora.loading.load_corpus` takes them.
        content_id: of the corpus that was planned with; a worker that finds another refuses the task.
    """

    source: str
    name: str
    format: str | None = None
    annotations: str | None = None
    fold: int | None = None
    content_id: str


@dataclass(frozen=True, kw_only=True, slots=True)
class TrainSpec:
    """One try at one training.

    Attributes:
        artifacts: folder of all trials' files; this try writes below `<artifacts>/<trial_id>/attempt-N`.
        encoder_id: content of the encoder that was planned with.
        splits: to evaluate the selected model on.
        gpus: the share of a GPU that the try was given; 0 means the CPU.
        cwd: the driver's working folder, which relative names (an encoder's folder) are relative to.
    """

    kind: Literal["train"] = "train"
    trial_id: str
    attempt: int
    config: TrialConfig
    seed: int
    corpus: CorpusSource
    encoder_id: str
    artifacts: str
    splits: tuple[str, ...]
    gpus: float
    cwd: str


@dataclass(frozen=True, kw_only=True, slots=True)
class EvaluateSpec:
    """Evaluation of a trained trial.

    Attributes:
        model_dir: its selected model.
        upstream_dir: that of the NER trial that predicts the entities of an end-to-end RE; None without one.
    """

    kind: Literal["evaluate"] = "evaluate"
    model_dir: str
    upstream_dir: str | None
    corpus: CorpusSource
    splits: tuple[str, ...]
    gpus: float
    cwd: str


_SPEC: TypeAdapter[TrainSpec | EvaluateSpec] = TypeAdapter(
    Annotated[TrainSpec | EvaluateSpec, Field(discriminator="kind")]
)


def spec_to_json(spec: TrainSpec | EvaluateSpec) -> str:
    """JSON text of a spec."""
    return _SPEC.dump_json(spec).decode()


def spec_from_json(text: str) -> TrainSpec | EvaluateSpec:
    """The inverse of `spec_to_json`; floats and None come back as they were."""
    return _SPEC.validate_json(text)
