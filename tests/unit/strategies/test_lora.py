from transmeta.core.plan import Lora
from transmeta.strategies.lora import LoraFinetune
from transmeta.testing.strategy_cases import StrategyCases, example_card

CARD = example_card()


class TestLoraFinetune(StrategyCases):
    strategy = LoraFinetune()

    def test_it_adds_updates_from_the_cut_on(self):
        plan = self.strategy.plan({"rank": 2, "scale": 4.0, "cut": 1}, CARD)

        assert plan.additions == (Lora(rank=2, scale=4.0, cut=1),)
        assert plan.trainable == ()
        assert plan.cut == 1
