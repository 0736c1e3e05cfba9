from transmeta.core.plan import ResidualAdapter
from transmeta.strategies.residual_adapter import AdapterFinetune
from transmeta.testing.strategy_cases import StrategyCases, example_card

CARD = example_card()


class TestAdapterFinetune(StrategyCases):
    strategy = AdapterFinetune()

    def test_it_adds_adapters_from_the_cut_on(self):
        plan = self.strategy.plan({"cut": 3}, CARD)

        assert plan.additions == (ResidualAdapter(cut=3),)
        assert plan.trainable == ()
