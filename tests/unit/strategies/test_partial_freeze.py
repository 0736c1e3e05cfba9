import pytest

from transmeta.core.plan import Scope
from transmeta.errors import ConfigError
from transmeta.strategies.partial_freeze import PartialFreeze
from transmeta.testing.strategy_cases import StrategyCases, example_card

CARD = example_card()


class TestPartialFreeze(StrategyCases):
    strategy = PartialFreeze()

    def test_it_trains_the_stages_from_the_cut_on(self):
        plan = self.strategy.plan({"cut": 2, "scope": "bias"}, CARD)

        assert plan.trainable == (2, 3)
        assert plan.cut == 2
        assert plan.scope is Scope.BIAS

    def test_by_default_it_trains_the_last_stage(self):
        assert self.strategy.plan({}, CARD).trainable == (3,)

    def test_layer_decay_needs_two_trained_stages(self):
        assert self.strategy.plan({"cut": 2, "layer_decay": 0.5}, CARD).optimiser.layer_decay == 0.5
        with pytest.raises(ConfigError, match=r"layer_decay = 0.5 has no effect here.*cut to 1, 2"):
            self.strategy.plan({"cut": 3, "layer_decay": 0.5}, CARD)

    def test_two_stages_leave_one_cut(self):
        assert self.strategy.plan({}, example_card(stage_count=2)).trainable == (1,)

    def test_one_stage_cannot_be_cut(self):
        assert not self.strategy.applies_to(example_card(stage_count=1))
