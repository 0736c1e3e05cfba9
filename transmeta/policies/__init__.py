"""Decision rules: random, fixed, mean rank, portfolio, nearest task, and the policy network."""
