import pytest

from transmeta.core.plan import Ridge
from transmeta.errors import ConfigError
from transmeta.strategies.ridge_probe import RidgeProbe
from transmeta.testing.strategy_cases import StrategyCases, example_card

CARD = example_card()


class TestRidgeProbe(StrategyCases):
    strategy = RidgeProbe()

    def test_it_freezes_every_stage(self):
        plan = self.strategy.plan({}, CARD)

        assert plan.trainable == ()
        assert plan.additions == ()
        assert plan.cut is None

    def test_its_plan_has_the_penalty_and_one_epoch(self):
        plan = self.strategy.plan({"penalty": 0.01}, CARD)

        assert plan.ridge == Ridge(penalty=0.01)
        assert plan.optimiser.epochs == 1

    def test_a_penalty_out_of_range_is_refused(self):
        with pytest.raises(ConfigError, match=r"penalty = 0\.0 is out of range"):
            self.strategy.plan({"penalty": 0.0}, CARD)

    def test_it_is_not_offered_without_weights(self):
        assert not self.strategy.applies_to(example_card(is_pretrained=False))
