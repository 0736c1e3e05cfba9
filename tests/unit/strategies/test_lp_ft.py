from transmeta.strategies.lp_ft import ProbeThenFinetune
from transmeta.testing.strategy_cases import StrategyCases, example_card

CARD = example_card()


class TestProbeThenFinetune(StrategyCases):
    strategy = ProbeThenFinetune()

    def test_it_probes_before_it_trains_every_stage(self):
        plan = self.strategy.plan({"probe_epochs": 7, "probe_learning_rate": 0.05}, CARD)

        assert plan.probe_epochs == 7
        assert plan.probe_learning_rate == 0.05
        assert plan.trainable == (0, 1, 2, 3)
