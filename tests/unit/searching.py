"""A search over a ledger, played by hand. No test."""

from pathlib import Path

from lai_net.config import TrialConfig
from tests.unit.rows import trial_row
from tune.engine import Message, Task
from tune.execution import Execution
from tune.ledger.ledger import Ledger
from tune.planning.plan import IdentifiedTrial
from tune.search.candidate import Suggestion
from tune.search.plan import plan_search
from tune.search.source import SearchSource
from tune.spec.study import load_study
from tune.task_spec import CorpusSource

STUDY = """
name = "s"
seeds = [1, 2]
[[datasets]]
name = "demo"
[datasets.ner]
preset = "demo-ner"
set = { "training.epochs" = 5 }
[search]
phase = "NER"
seeds_per_config = 2
SETTINGS
[search.space]
"graph.dropout" = { uniform = [0.0, 0.5] }
[search.scheduler]
reduction_factor = 2
noise_margin = 0.0
[search.budget]
trials = 8
[search.confirm]
best = 1
seeds = 2
"""


class Bench:
    """A search over a ledger, played by hand: config n has dropout n / 100."""

    def __init__(self, folder: Path, ledger: Ledger, settings: str = "", text: str = STUDY) -> None:
        (folder / "s.toml").write_text(text.replace("SETTINGS", settings))
        self.plan = plan_search(load_study(folder / "s.toml"))
        corpora = {("demo", None): CorpusSource(source="embedded", name="demo", content_id="x")}
        self.execution = Execution(ledger, folder, corpora, share=0)
        self.ledger = ledger
        self.source = SearchSource(
            plan=self.plan,
            suggest=lambda history: Suggestion({"graph.dropout": len(history) / 100}),
            identify=self.job,
            execution=self.execution,
        )

    def job(self, config: TrialConfig, seed: int) -> IdentifiedTrial:
        name = f"{config.graph.dropout:.2f}"
        row = trial_row(
            trial_id=f"{name}-{seed}",
            config_id=name,
            spec_id=name,
            seed=seed,
            config={
                "training": {"epochs": config.training.epochs, "selection": "dev"},
                "encoder": {"name": config.encoder.name},
            },
        )
        return IdentifiedTrial(row, config)

    def tell(self, task: Task, message: Message) -> bool:
        """As an engine delivers; False where the trial was stopped."""
        self.execution.record(task, message)
        if not message.is_final:
            if self.source.goes_on(task, message):
                return True
            message = Message("stopped")
            self.execution.record(task, message)
        self.source.ended(task, message)
        return False

    def start(self) -> Task:
        task = self.source.next_task()
        self.tell(task, Message("started", {"device": "cpu"}))
        return task

    def epochs(self, task: Task, score: float, first: int = 1, last: int = 5) -> bool:
        for epoch in range(first, last + 1):
            if not self.tell(task, Message("epoch", {"epoch": epoch, "dev": {"f1": score}, "wall_s": 1.0})):
                return False
        return True

    def finish(self, task: Task) -> None:
        self.tell(task, Message("completed", {"evaluations": [], "cpu_s": 1.0, "wall_s": 1.0}))

    def complete_config(self, score: float) -> None:
        """Both seeds of the next one."""
        for _ in range(2):
            self.complete_one(score)

    def complete_one(self, score: float) -> None:
        """The next trial."""
        task = self.start()
        self.epochs(task, score)
        self.finish(task)
