"""`ExpressionError`: an expression of a policy that failed on a message. Apart from CEL, which few processes load."""


class ExpressionError(Exception):
    """An expression that failed on a message. The text is CEL's, cut, and may name what the message holds."""


class WrongTypeError(ExpressionError):
    """An expression of a type that only a message shows gave something else than is accepted."""
