"""What a model's outputs say of a row, in the API's words: the API and batch scoring share it."""

from collections.abc import Callable, Sequence
from typing import Any

from core.contract import Contract
from core.engine import Header, decide

Answer = Callable[[str, list[float]], dict[str, Any]]


def choose_answer(header: Header, contract: Contract) -> Answer:
    """Return the function from an id and outputs to one prediction of a response."""
    if contract.is_classification:
        classes = contract.classes

        def classify(identifier: str, outputs: list[float]) -> dict[str, Any]:
            return {
                "id": identifier,
                "label": decide(header, outputs),
                "probabilities": dict(zip(classes, outputs, strict=True)),
            }

        return classify
    if contract.task == "clustering":

        def assign(identifier: str, outputs: list[float]) -> dict[str, Any]:
            scores = dict(zip(contract.classes, outputs[1:], strict=True))
            return {"id": identifier, "label": decide(header, outputs), "scores": scores}

        return assign
    threshold = header.threshold
    if contract.task == "anomaly" and threshold is not None:

        def flag(identifier: str, outputs: list[float]) -> dict[str, Any]:
            label = "anomaly" if outputs[0] >= threshold else "normal"
            return {"id": identifier, "label": label, "value": outputs[0]}

        return flag
    return lambda identifier, outputs: {"id": identifier, "value": outputs[0]}


def unseen_codes(contract: Contract) -> list[tuple[int, float, str]]:
    """Return place, code and column of what an unlisted category would be encoded as."""
    categories = {
        column.name: float(len(column.categories))
        for column in contract.columns
        if column.type == "category" and column.categories
    }
    return [
        (place, categories[feature.column], feature.column)
        for place, feature in enumerate(contract.features)
        if feature.column in categories
    ]


def find_unseen(codes: Sequence[tuple[int, float, str]], vector: Sequence[float]) -> list[str]:
    """Name the columns of an encoded row whose category the model never saw."""
    return [name for place, code, name in codes if vector[place] == code]
