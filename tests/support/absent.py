"""Stubs of libraries that pages use and that are not installed, with the functions they call."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from importlib.util import find_spec
from types import ModuleType, SimpleNamespace
from typing import Any


def is_absent(name: str) -> bool:
    """Whether the library is not installed."""
    return find_spec(name) is None


def mlflow(told: list[tuple[str, Any]]) -> Any:
    """MLflow's fluent functions, which record their arguments."""
    module: Any = ModuleType("mlflow")

    @contextmanager
    def start_run() -> Iterator[None]:
        yield
        told.append(("ended", None))

    def log_metrics(metrics: Mapping[str, float], step: int | None = None) -> None:
        told.append(("metrics", (step, dict(metrics))))

    module.start_run, module.log_metrics = start_run, log_metrics
    module.log_params = lambda params: told.append(("params", params))
    module.log_artifacts = lambda folder: told.append(("artifacts", folder))
    return module


def wandb(told: list[tuple[str, Any]]) -> Any:
    """Weights & Biases: ``init``, and ``log`` of an open run."""
    module: Any = ModuleType("wandb")
    is_open: list[str] = []

    def log(data: dict[str, Any], step: int | None = None) -> None:
        assert is_open, "wandb.log before wandb.init"
        told.append(("metrics", (step, dict(data))))

    @contextmanager
    def init(project: str) -> Iterator[Any]:
        is_open.append(project)
        config = SimpleNamespace(update=lambda settings: told.append(("config", settings)))
        yield SimpleNamespace(log=log, config=config)
        is_open.pop()

    module.init, module.log = init, log
    return module


def optuna(most: int = 2) -> Any:
    """Optuna: a study that proposes the ends of each range, for at most ``most`` trials."""
    module: Any = ModuleType("optuna")

    class Trial:
        def __init__(self, number: int) -> None:
            self.number, self.value = number, float("nan")
            self.params: dict[str, Any] = {}
            self.user_attrs: dict[str, Any] = {}

        def _end(self, name: str, low: Any, high: Any, *, log: bool = False) -> Any:
            self.params[name] = high if self.number % 2 else low
            return self.params[name]

        suggest_int = suggest_float = _end

        def suggest_categorical(self, name: str, choices: list[Any]) -> Any:
            return self._end(name, choices[0], choices[-1])

        def set_user_attr(self, name: str, value: Any) -> None:
            self.user_attrs[name] = value

    class Study:
        def __init__(self) -> None:
            self.trials: list[Trial] = []

        @property
        def best_params(self) -> dict[str, Any]:
            return max(self.trials, key=lambda trial: trial.value).params

        def optimize(self, objective: Callable[[Trial], float], n_trials: int) -> None:
            for number in range(min(n_trials, most)):
                trial = Trial(number)
                trial.value = float(objective(trial))
                self.trials.append(trial)

    module.create_study = lambda direction, sampler: Study()
    module.samplers = SimpleNamespace(TPESampler=lambda seed: None)
    return module
