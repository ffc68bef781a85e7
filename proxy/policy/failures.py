"""`ExpressionError`: an expression of a policy failed on a message. This module does not import CEL, which few
processes need.
"""


class ExpressionError(Exception):
    """An expression failed on a message. The text is CEL's, cut, and may contain values of the message."""


class WrongTypeError(ExpressionError):
    """An expression whose type is only known at run time gave a value of a type that is not accepted."""
