from transmeta.core.plan import L2SP
from transmeta.strategies.l2_sp import L2SpFinetune
from transmeta.testing.strategy_cases import StrategyCases, example_card

CARD = example_card()


class TestL2SpFinetune(StrategyCases):
    strategy = L2SpFinetune()

    def test_it_penalises_the_distance_from_the_source(self):
        plan = self.strategy.plan({"strength": 0.5, "head_strength": 0.002}, CARD)

        assert plan.penalty == L2SP(strength=0.5, head_strength=0.002)
        assert plan.trainable == (0, 1, 2, 3)

    def test_the_penalty_takes_the_place_of_weight_decay(self):
        assert self.strategy.plan({}, CARD).optimiser.weight_decay == 0.0
