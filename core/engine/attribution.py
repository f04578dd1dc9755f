"""Exact Shapley values of sums of trees, against one baseline row."""

from __future__ import annotations

import math
from functools import cache

from core.engine.trees import Node


def attribute_trees(
    roots: list[Node],
    x: list[float],
    credit: list[float],
    weights: tuple[list[list[float]], list[list[float]]],
    output: int | None,
) -> None:
    """Add the Shapley values of some trees to `credit`; `output` picks from leaves with lists."""
    gains, losses = weights
    sides = [0] * len(
        credit
    )  # of each column on the path: 0 undecided, 1 the row's, 2 the baseline's

    def visit(node: Node, mine: int, theirs: int) -> tuple[float, float]:
        while node.__class__ is tuple:
            position, threshold, at_most, above, baseline_at_most, player = node
            if x[position] <= threshold:
                if baseline_at_most:
                    node = at_most
                    continue
                here, there = at_most, above
            elif baseline_at_most:
                here, there = above, at_most
            else:
                node = above
                continue
            side = sides[player]
            if side == 0:
                sides[player] = 1
                gain, loss = visit(here, mine + 1, theirs)
                sides[player] = 2
                other_gain, other_loss = visit(there, mine, theirs + 1)
                sides[player] = 0
                credit[player] += gain - other_loss
                return gain + other_gain, loss + other_loss
            node = here if side == 1 else there
        value = node if output is None else node[output]
        return value * gains[mine][theirs], value * losses[mine][theirs]

    for root in roots:
        visit(root, 0, 0)


@cache
def weigh_players(size: int) -> tuple[list[list[float]], list[list[float]]]:
    """Tabulate (a-1)! c! / (a+c)! and a! (c-1)! / (a+c)!, with 0 where there is no such player."""
    factorial = [math.factorial(n) for n in range(2 * size)]
    gains = [
        [factorial[a - 1] * factorial[c] / factorial[a + c] if a else 0.0 for c in range(size)]
        for a in range(size)
    ]
    losses = [
        [factorial[a] * factorial[c - 1] / factorial[a + c] if c else 0.0 for c in range(size)]
        for a in range(size)
    ]
    return gains, losses
