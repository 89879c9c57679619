"""What a worker is told, as frozen values with one JSON form. Torch-free; paths are absolute, or URIs."""

from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import Field, TypeAdapter

from lai_net.config import EntitySource, TrialConfig
from lai_net.corpora.loading import OverlappingRelations, load_corpus
from lai_net.schema import Corpus


@dataclass(frozen=True, kw_only=True, slots=True)
class CorpusSource:
    """Where a corpus lies and what it must contain.

    Attributes:
        source, name, annotations, fold, overlapping_relations: as `lai_net.corpora.loading.load_corpus` takes
            them.
        content_id: of the corpus that was planned with; a worker that finds another refuses the task.
    """

    source: str
    name: str
    annotations: str | None = None
    fold: int | None = None
    overlapping_relations: OverlappingRelations = "keep"
    content_id: str

    def load(self) -> Corpus:
        """What lies there now, whatever was planned with; raises what `load_corpus` does."""
        return load_corpus(
            self.source,
            name=self.name,
            annotations=self.annotations,
            fold=self.fold,
            overlapping_relations=self.overlapping_relations,
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class _TaskSpec:
    """What every task says.

    Attributes:
        share: of a GPU that the try was given; 0 means the CPU.
        logical_gpus: how many GPUs of the machine may be only counted, so that the CPU does where torch sees
            none; 0 means that they are real.
        memory_cap: share of the GPU's memory beyond which the try is out of memory.
        cwd: the driver's working folder, which relative names (an encoder's folder) are relative to.
    """

    corpus: CorpusSource
    share: float
    logical_gpus: int = 0
    memory_cap: float = 1.0
    cwd: str


@dataclass(frozen=True, kw_only=True, slots=True)
class TrainSpec(_TaskSpec):
    """One try at one training.

    Attributes:
        artefacts: folder or URI of all trials' files, as `tune.artefacts.storage.storage_at` takes it.
        encoder_id: content of the encoder that was planned with.
        upstream_dir: selected model of the trial that `training.selection_entities` names; None where that is
            gold.
        splits: to evaluate the selected model on.
    """

    kind: Literal["train"] = "train"
    trial_id: str
    attempt: int
    config: TrialConfig
    seed: int
    encoder_id: str
    upstream_dir: str | None = None
    artefacts: str
    splits: tuple[str, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class EvaluateSpec(_TaskSpec):
    """Evaluation of a trained trial.

    Attributes:
        model_dir: its selected model.
        upstream_dir: that of the NER trial that predicts the entities of an end-to-end RE; None without one.
        entities: whose entities it takes.
    """

    kind: Literal["evaluate"] = "evaluate"
    model_dir: str
    upstream_dir: str | None
    entities: EntitySource
    splits: tuple[str, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class ProbeSpec(_TaskSpec):
    """A measurement of what a config needs, on a whole device.

    Attributes:
        shape_id: of the config.
        device_type: as the driver names it.
        logical_gpus: among so many the machine's memory is divided, too, where there is none.
    """

    kind: Literal["probe"] = "probe"
    shape_id: str
    device_type: str
    config: TrialConfig
    encoder_id: str


Spec = TrainSpec | EvaluateSpec | ProbeSpec

_SPEC: TypeAdapter[Spec] = TypeAdapter(Annotated[Spec, Field(discriminator="kind")])


def spec_to_json(spec: Spec) -> str:
    """JSON text of a spec."""
    return _SPEC.dump_json(spec).decode()


def spec_from_json(text: str) -> Spec:
    """The inverse of `spec_to_json`; floats and None come back as they were."""
    return _SPEC.validate_json(text)
