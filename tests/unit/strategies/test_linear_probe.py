from transmeta.strategies.linear_probe import LinearProbe
from transmeta.testing.strategy_cases import StrategyCases, example_card

CARD = example_card()


class TestLinearProbe(StrategyCases):
    strategy = LinearProbe()

    def test_it_freezes_every_stage(self):
        plan = self.strategy.plan({}, CARD)

        assert plan.trainable == ()
        assert plan.additions == ()
        assert plan.cut is None

    def test_it_is_not_offered_without_weights(self):
        assert not self.strategy.applies_to(example_card(is_pretrained=False))
