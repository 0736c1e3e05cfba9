import pytest

from transmeta.core.plan import OptimiserPlan, Schedule
from transmeta.core.space import Numeric
from transmeta.core.task import Modality
from transmeta.errors import ConfigError
from transmeta.strategies import catalogue
from transmeta.strategies.hyperparameters import augment_shift, optimiser_plan, stage_index
from transmeta.strategies.spaces import Values
from transmeta.testing.strategy_cases import example_card


def applicable(name):
    card = example_card()
    return card if catalogue.find_strategy(name).applies_to(card) else example_card(is_pretrained=False)


NAMES = [
    name for name in catalogue.strategy_names() if not catalogue.find_strategy(name).plan({}, applicable(name)).ridge
]
"""Those that train by gradient."""


@pytest.mark.parametrize("name", NAMES)
def test_rates_and_decays_are_searched_in_their_logarithm(name):
    description = catalogue.describe_space(catalogue.find_strategy(name), applicable(name))

    numbers = {p.name: p for p in description.parameters if isinstance(p, Numeric)}

    logarithmic = ("learning_rate", "probe_learning_rate", "head_multiplier", "weight_decay")
    assert all(numbers[key].log for key in logarithmic if key in numbers)
    assert "learning_rate" in numbers
    assert "epochs" in numbers


@pytest.mark.parametrize("name", NAMES)
def test_warm_up_belongs_to_the_cosine_schedule(name):
    strategy, card = catalogue.find_strategy(name), applicable(name)

    assert strategy.plan({}, card).optimiser.warmup == 0.05
    assert strategy.plan({"schedule": "constant"}, card).optimiser.warmup == 0.0
    with pytest.raises(ConfigError, match="set schedule to cosine"):
        strategy.plan({"schedule": "constant", "warmup": 0.1}, card)


def test_only_images_are_shifted():
    assert len(augment_shift(example_card())) == 1
    assert augment_shift(example_card(modality=Modality.TABULAR)) == ()


def test_the_only_stage_is_a_constant():
    assert stage_index("cut", low=1, high=1, default=1).value == 1


def test_what_a_strategy_does_not_search_is_neutral():
    values = Values(params={"learning_rate": 1e-3, "epochs": 5, "schedule": "constant"})

    assert optimiser_plan(values) == OptimiserPlan(
        learning_rate=1e-3,
        epochs=5,
        head_multiplier=1.0,
        layer_decay=1.0,
        weight_decay=0.0,
        schedule=Schedule.CONSTANT,
        warmup=0.0,
    )
