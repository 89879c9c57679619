"""A run's bounds."""

from lai_net.files import size_gib
from tune.budget import RunBudget


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


def test_hours_are_counted_from_the_start(tmp_path):
    clock = Clock()
    budget = RunBudget(hours=1, disk_gib=None, used_gib=lambda: size_gib(tmp_path), clock=clock)
    clock.now += 3599
    assert not budget.is_spent()
    clock.now += 1
    assert budget.is_spent()


def test_disk_is_measured_now_and_then(tmp_path):
    clock = Clock()
    budget = RunBudget(hours=None, disk_gib=2 / 2**20, used_gib=lambda: size_gib(tmp_path), clock=clock)
    assert not budget.is_spent()
    (tmp_path / "trial").mkdir()
    (tmp_path / "trial" / "model").write_bytes(bytes(4096))
    assert not budget.is_spent(), "looked a moment ago"
    clock.now += 30
    assert budget.is_spent()
    assert "the artefacts take budget.disk_gib = 1.90735e-06: raise it, or keep fewer models" in budget.advice


def test_no_bounds_are_never_spent(tmp_path):
    assert not RunBudget(None, None, lambda: 0.0).is_spent()
