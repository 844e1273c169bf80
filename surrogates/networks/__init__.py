"""Networks: their interface, the surrogate made of a network, `wrap` for your own, shared layers."""
