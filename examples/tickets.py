"""Made-up tickets that the examples learn from, and the model that they take: the default, or the first argument."""

import sys

MODEL = sys.argv[1] if len(sys.argv) > 1 else None
KINDS = {
    "billing": ("I was charged twice for order {}", "the invoice {} shows a wrong total", "please refund payment {}"),
    "login": ("password reset {} never arrives", "my account is locked after {} attempts", "error {} when I sign in"),
}
TEXTS = [text.format(number) for number in range(20) for texts in KINDS.values() for text in texts]
LABELS = [label for _ in range(20) for label, texts in KINDS.items() for _ in texts]
