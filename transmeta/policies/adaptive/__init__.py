"""The adaptive portfolio: known targets and a network's predictions, weighed anew after every observation."""
