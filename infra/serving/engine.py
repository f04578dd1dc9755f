"""The engine that a function scores with: exact tables, or onnxruntime."""

from core.settings import Settings

# Candidates whose fitted models fold into tables; others are served by onnxruntime.
_FOLDED_TASKS = ("binary", "multiclass", "regression")
_FOLDED_CANDIDATES = frozenset({"dummy", "linear", "boosting", "forest"})


def serving_engine(settings: Settings) -> str:
    """Give the engine that the predict asset carries: "table" or "onnx"."""
    if settings.serving.engine != "auto":
        return settings.serving.engine
    foldable = (
        settings.problem.task in _FOLDED_TASKS
        and set(settings.training.candidates) <= _FOLDED_CANDIDATES
    )
    return "table" if foldable else "onnx"


def engine_requirements(engine: str) -> str:
    """Name the requirements file of a function that carries this engine."""
    return "requirements-onnx.txt" if engine == "onnx" else "requirements.txt"
