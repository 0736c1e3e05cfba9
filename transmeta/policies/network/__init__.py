"""The policy network g_θ, an ensemble, and the policy that mixes it with the nearest known targets."""
