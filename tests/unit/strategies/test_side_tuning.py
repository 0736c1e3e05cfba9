from transmeta.core.plan import SideNetwork
from transmeta.strategies.side_tuning import SideTuning
from transmeta.testing.strategy_cases import StrategyCases, example_card

CARD = example_card()


class TestSideTuning(StrategyCases):
    strategy = SideTuning()

    def test_it_adds_a_network_beside_the_frozen_stages(self):
        plan = self.strategy.plan({"width": 8}, CARD)

        assert plan.additions == (SideNetwork(width=8),)
        assert plan.trainable == ()
        assert plan.cut is None
