"""Channel expressions such as `Mg / (Mg + Fe)`: their syntax, and their values window by window."""

from meteoseg.expressions.expression import Expression, parse_expression

__all__ = ["Expression", "parse_expression"]
