from transmeta.core.plan import Scope
from transmeta.strategies.bias_only import BiasOnly
from transmeta.testing.strategy_cases import StrategyCases, example_card

CARD = example_card()


class TestBiasOnly(StrategyCases):
    strategy = BiasOnly()

    def test_it_trains_the_biases_of_every_stage(self):
        plan = self.strategy.plan({}, CARD)

        assert plan.scope is Scope.BIAS
        assert plan.trainable == (0, 1, 2, 3)
