"""The maximum number of fields in a model's hash, and how far in the future its times may be; the scripts enforce both.

A time further ahead was written before the server's clock was set back, and its field is ignored.
"""

from proxy.settings.config import LONGEST_WINDOW

MOST_FIELDS = 256
LONGEST_MARK_MS = int(LONGEST_WINDOW * 1000)
LONGEST_INTENT_MS = 600_000
"""The longest life of a write's intent, whatever deadline its caller set: nobody clears that of a killed process."""

LIMITS = b"%d" % MOST_FIELDS, b"%d" % LONGEST_MARK_MS, b"%d" % LONGEST_INTENT_MS
"""These limits in the order in which the scripts take them as arguments."""
