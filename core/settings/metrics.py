"""The metrics that gates may name and candidates may compete on, by task."""

from typing import Literal

# Each metric, and which way is better; a task's first is what its candidates
# compete on unless [training] metric names another. Proper scores come first for classification:
# they judge ranking and calibration at once, and see differences that accuracy and AUC cannot.
METRICS: dict[str, dict[str, Literal["higher", "lower"]]] = {
    "binary": {
        "log_loss": "lower",
        "roc_auc": "higher",
        "pr_auc": "higher",
        "accuracy": "higher",
        "balanced_accuracy": "higher",
        "precision": "higher",
        "recall": "higher",
        "f1": "higher",
        "brier": "lower",
        "calibration_error": "lower",
    },
    "multiclass": {
        "log_loss": "lower",
        "roc_auc": "higher",
        "pr_auc": "higher",
        "accuracy": "higher",
        "balanced_accuracy": "higher",
        "precision": "higher",
        "recall": "higher",
        "f1": "higher",
        "brier": "lower",
        "calibration_error": "lower",
    },
    "regression": {
        "rmse": "lower",
        "mae": "lower",
        "r2": "higher",
        "median_absolute_error": "lower",
        "error_p90": "lower",
        "error_p95": "lower",
    },
    # roc_auc and pr_auc need a target column that says which rows were anomalies.
    "anomaly": {
        "separation_auc": "higher",
        "stability": "higher",
        "roc_auc": "higher",
        "pr_auc": "higher",
    },
    "clustering": {"silhouette": "higher", "davies_bouldin": "lower", "stability": "higher"},
}

# For gates only: no row has these of its own, so that two models cannot be compared by rows.
NOT_FOR_SEARCH = ("stability", "davies_bouldin")
