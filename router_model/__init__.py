"""The pure domain of the router: types, features, predictor, pricing, constraints, policy."""
