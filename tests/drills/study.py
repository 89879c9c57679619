"""The study of the drills: every kind of job, in few and short trainings."""


def study_text(seeds: list[int], epochs: int = 5, encoder: str = "minilm", ner: str = "") -> str:
    """The study file; `ner` are further settings of NER, each with a comma behind it."""
    phases = [
        f'[datasets.{phase}]\npreset = "demo-{phase}"\n'
        f'set = {{ {more}"training.epochs" = {epochs}, "encoder.name" = "{encoder}" }}\n'
        for phase, more in (("ner", ner), ("re", ""))
    ]
    return (
        f'name = "drill"\nseeds = {seeds}\n[[datasets]]\nname = "demo"\ncorpus = "embedded"\n'
        + "".join(phases)
        + "[factors]\ngcn_layers = [0, 1, 2]\n"
    )
