"""`lai train`: one trial without Ray."""

import errno
import json
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from lai_net.command_options import (
    FAILED,
    INTERRUPTED,
    DeviceOption,
    LedgerOption,
    check_ledger,
    model_folder,
    progress_on_stderr,
    warn,
)
from lai_net.config import SEED_END, TrialConfig
from lai_net.corpora.loading import OverlappingRelations, check_splits, load_corpus
from lai_net.errors import DivergedError, InputError
from lai_net.files import is_disk_full, locked

if TYPE_CHECKING:
    from lai_net.pipeline import EpochReport, Evaluation
    from lai_net.schema import Corpus

_LOCK = ".lock"
_NO_LOCKS = {errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP}


def train(  # noqa: PLR0913 - an argument an option
    context: typer.Context,
    phase: Annotated[Literal["ner", "re"], typer.Argument(case_sensitive=False, help="Which phase.")],
    corpus: Annotated[str, typer.Option(help="A folder of splits, or 'embedded'.")],
    preset: Annotated[str, typer.Option(help="A shipped preset or a TOML file.")],
    seed: Annotated[int, typer.Option(min=0, max=SEED_END - 1, help="Of every random stream.")],
    out: Annotated[Path, typer.Option(help="Folder for checkpoints and the best model.")],
    settings: Annotated[
        list[str] | None, typer.Option("--set", help="key=value, as in a preset; of one key the last.")
    ] = None,
    annotations: Annotated[
        str | None, typer.Option(help="Label phrases: a shipped name or a TOML file.")
    ] = None,
    fold: Annotated[int | None, typer.Option(help="Of a corpus with folds, from 0.")] = None,
    overlapping_relations: Annotated[
        OverlappingRelations, typer.Option(help="Between spans that share a word, such as 120 of ADE's.")
    ] = "keep",
    ner: Annotated[
        str | None,
        typer.Option(metavar="MODEL", help="RE: evaluate end to end, too, with this NER folder or TRIAL_ID."),
    ] = None,
    ledger: LedgerOption = None,
    features: Annotated[
        Path | None, typer.Option(help="Folder for the states of a frozen encoder, to share.")
    ] = None,
    device: DeviceOption = "cpu",
) -> None:
    """Train one phase; called again, it goes on from its last epoch.

    Prints an evaluation a line on dev and test: of NER on its own entities; of RE on gold entities, and with
    --ner also on gold spans typed by the model and on predicted entities.
    """
    config = _config(phase, preset, settings or (), device, shares_features=features is not None)
    if ner is None and config.training.selection_entities != "gold":
        raise InputError("training.selection_entities names an NER trial; give its model with --ner")
    if ner is not None and config.phase == "NER":
        raise InputError("--ner joins RE with an NER model; leave it out where NER is trained")
    if ner is None and ledger is not None:
        raise InputError("--ledger names a trial for --ner; leave it out without one")
    if ner is not None:
        check_ledger(ledger, ner)
    upstream = None if ner is None else model_folder(context, ner, ledger)

    loaded = load_corpus(
        corpus,
        name=corpus,
        annotations=annotations,
        fold=fold,
        overlapping_relations=overlapping_relations,
    )
    check_splits(loaded, corpus)
    done: list[EpochReport] = []
    with _ends_told(done):
        for found in _run(config, seed, loaded, out, upstream, features, device, done):
            shown = {key: value for key, value in asdict(found).items() if key != "documents"}
            typer.echo(json.dumps(shown))


@contextmanager
def _ends_told(done: "Sequence[EpochReport]") -> Iterator[None]:
    """Say in one line why a training ended early, and what to do."""
    try:
        yield
    except KeyboardInterrupt:
        place = f"after epoch {len(done)}" if done else "at the start"
        typer.echo(f"interrupted {place}; the same call resumes", err=True)
        raise typer.Exit(INTERRUPTED) from None
    except DivergedError as error:
        typer.echo(f"the training diverged: {error}", err=True)
        raise typer.Exit(FAILED) from error
    except OSError as error:
        if not is_disk_full(error):
            raise
        place = error.filename or "stdout"
        raise InputError(
            f"{place}: {error.strerror}; make space there, then the same call resumes"
        ) from error


def _config(
    phase: str, preset: str, settings: Sequence[str], device: str, *, shares_features: bool
) -> TrialConfig:
    """The preset with settings; what is doubtful about it is said on stderr."""
    from lai_net.doubts import doubts, idle_doubts
    from lai_net.preset import load_preset
    from lai_net.settings import with_settings

    config = load_preset(preset)
    if config.phase != phase.upper():
        raise InputError(f"preset {preset!r} is for {config.phase}, but {phase} is asked for; give another")
    given = dict(_setting(text) for text in settings)
    config = with_settings(config, given)
    if shares_features and not config.has_constant_states:
        raise InputError(
            '--features keeps constant states, which this config has not; set encoder.freeze="features" (and '
            "nothing under which candidates see each other), or leave --features out"
        )
    warn([*idle_doubts([config], given, on_cuda=device.startswith("cuda")), *doubts(config)])
    return config


def _run(
    config: TrialConfig,
    seed: int,
    corpus: "Corpus",
    out: Path,
    upstream: Path | None,
    features: Path | None,
    device: str,
    done: "list[EpochReport]",
) -> "Iterator[Evaluation]":
    """Train with a line an epoch on stderr, then evaluate; `done` gets the epochs' reports."""
    from lai_net.device import checked_device, has_bf16, keep_sums_in_order, one_thread
    from lai_net.doubts import SLOW_BF16
    from lai_net.encoder_files import encoder_id
    from lai_net.pipeline import evaluate_trial, train_trial
    from lai_net.training.features import FeatureStore

    one_thread()
    device = checked_device(device)
    keep_sums_in_order(device)
    if config.training.precision == "bf16" and not has_bf16(device):
        warn([f"{device} {SLOW_BF16}"])
    ner_dir = None if upstream is None else _ner_model(upstream, corpus)
    store = None if features is None else FeatureStore(features)
    selected_on = ner_dir if config.training.selection_entities != "gold" else None
    encoder_id(config.encoder.name)  # one that is not to be had leaves no folder
    with _alone_in(out), progress_on_stderr("epochs") as progress:
        task = progress.add_task("", total=config.training.epochs)
        for report in train_trial(
            config, seed, corpus, out, upstream_dir=selected_on, device=device, features=store
        ):
            done.append(report)
            typer.echo(_epoch_line(report), err=True)
            progress.advance(task)
    for split in ("dev", "test"):
        if split in corpus.splits:
            for upstream_dir, typed in _joins(config, ner_dir):
                yield evaluate_trial(
                    out / "best",
                    corpus,
                    split,
                    upstream_dir=upstream_dir,
                    typed=typed,
                    device=device,
                    features=store,
                )


@contextmanager
def _alone_in(out: Path) -> Iterator[None]:
    """Keep other calls out of a training's folder; a file system without locks is warned of.

    Of a folder that cannot be written the training tells, if it has anything to write. A new one in which
    nothing was written, as when the training is refused, goes.
    """
    is_new = not out.exists()
    with ExitStack() as held:
        try:
            out.mkdir(parents=True, exist_ok=True)
            held.enter_context(locked(out / _LOCK, waits=False))
        except BlockingIOError as error:
            raise InputError(
                f"{out}: another `lai train` is at work there; wait for it to end, or give another folder"
            ) from error
        except OSError as error:
            if error.errno in _NO_LOCKS:
                said = f"its file system has no locks ({error.strerror}); let no other `lai train` work there"
                warn([f"{out}: {said}"])
        try:
            yield
        finally:
            if is_new:
                _remove_unused(out)


def _remove_unused(out: Path) -> None:
    """Remove a folder that holds the lock alone."""
    with suppress(OSError):
        if [path.name for path in out.iterdir()] == [_LOCK]:
            (out / _LOCK).unlink()
            out.rmdir()


def _ner_model(folder: Path, corpus: "Corpus") -> Path:
    """The NER model in a folder; one that cannot be joined is told before the training, not after it."""
    from lai_net.pipeline import check_upstream
    from lai_net.training.checkpoint import best_model

    model = best_model(folder)
    check_upstream(model, corpus)
    return model


def _joins(config: TrialConfig, ner_dir: Path | None) -> list[tuple[Path | None, bool]]:
    """What to evaluate with: an NER model or none, and whether gold spans take a model's types."""
    joins: list[tuple[Path | None, bool]] = [(None, False)]
    if config.head.object_typing != "off" and config.phase == "RE":
        joins.append((None, True))
    elif ner_dir is not None:
        joins.append((ner_dir, True))
    return joins if ner_dir is None else [*joins, (ner_dir, False)]


def _epoch_line(report: "EpochReport") -> str:
    recall = "" if report.filter_recall is None else f", filter's recall {report.filter_recall:.2%}"
    place = f"epoch {report.epoch}/{report.num_epochs}"
    return f"{place}: loss {report.loss:.3f}, F1 {report.dev['f1']:.2%}{recall}"


def _setting(text: str) -> tuple[str, Any]:
    key, equals, value = text.partition("=")
    if not equals:
        raise InputError(f"--set {text!r}: give key=value, e.g. graph.layers=1")
    try:
        return key, json.loads(value)
    except json.JSONDecodeError:
        return key, value
