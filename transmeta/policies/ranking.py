"""From rows of regret, or an order of arms, to suggestions: what all policies over a table do last."""

import numpy as np

from transmeta.core.experience import MetaFeatures
from transmeta.core.outcome import Suggestion
from transmeta.core.space import Proposer
from transmeta.policies.forecast import Rows, describe
from transmeta.policies.fresh import fresh_suggestions
from transmeta.policies.greedy import Columns, Situation, filled, order
from transmeta.policies.table import RegretTable, is_scratch


def equal_rows(table: RegretTable) -> Rows:
    """Returns the known targets as rows of equal weight."""
    count = len(table.targets)
    return Rows(regret=filled(table.regret), weights=np.full(count, 1 / max(count, 1)))


def suggest_greedily(
    table: RegretTable,
    rows: Rows,
    *,
    features: MetaFeatures,
    now: Situation,
    proposer: Proposer,
    count: int,
    seed: int,
    beliefs: Rows | None = None,
) -> tuple[Suggestion, ...]:
    """Returns up to `count` suggestions in the order that removes the most of the rows' regret, then fresh arms.

    Args:
        beliefs: the rows to predict scores from, where `rows` are not what the policy believes.
    """
    columns = order(
        rows.regret, weights=rows.weights, is_available=now.is_available, covering=now.covering, count=count
    )
    known = describe(table, beliefs or rows, features=features, now=now, columns=columns)
    return known + hand_over(known, features=features, now=now, proposer=proposer, count=count, seed=seed)


def suggest_in_order(
    table: RegretTable,
    columns: Columns,
    *,
    features: MetaFeatures,
    now: Situation,
    proposer: Proposer,
    count: int,
    seed: int,
) -> tuple[Suggestion, ...]:
    """Returns up to `count` suggestions: the available ones of `columns` in their order, then fresh arms."""
    chosen = [column for column in columns if now.is_available[column]][:count]
    known = describe(table, equal_rows(table), features=features, now=now, columns=chosen)
    return known + hand_over(known, features=features, now=now, proposer=proposer, count=count, seed=seed)


def hand_over(
    known: tuple[Suggestion, ...],
    *,
    features: MetaFeatures,
    now: Situation,
    proposer: Proposer,
    count: int,
    seed: int,
) -> tuple[Suggestion, ...]:
    """Returns the fresh arms that are missing to `count`."""
    exclude = now.tried | {suggestion.arm.key for suggestion in known}
    return fresh_suggestions(proposer, features, exclude=exclude, count=count - len(known), seed=seed)


def is_transfer(suggestion: Suggestion) -> bool:
    """Returns whether the suggestion starts from a checkpoint; if the best one does not, do not transfer."""
    return not is_scratch(suggestion.arm.source)
