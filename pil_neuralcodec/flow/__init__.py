"""iFlow: numerically invertible flows on integers (Zhang, Kang, Ryder, Li 2021)."""
