"""How fast we may ask, shared by all ranks that leave through one address.

Docs: `docs/pace.md`. Start with `Pace.take`; `line` holds the turns, `cooldown` the pause after a
throttle, `health` what happens when downloads fail for everybody, `rotation` the proxies, `fleet`
the arithmetic for `plan` and `submit`.
"""

from trackverse_cli.pace.diagnosis import Outcome
from trackverse_cli.pace.fleet import feeding_sentence, hours_for, ranks_fed, time_text
from trackverse_cli.pace.health import Course, Verdict
from trackverse_cli.pace.names import account_tag, checked_egress, mark_of
from trackverse_cli.pace.pace import Pace
from trackverse_cli.pace.rotation import Rotation, Turn, egress_names
from trackverse_cli.pace.spacing import (
    ACCOUNT_VIDEOS_PER_HOUR,
    GUEST_VIDEOS_PER_HOUR,
    Rate,
    allowed_requests,
    rate_of,
)
from trackverse_cli.pace.terms import Terms
from trackverse_cli.pace.waiter import Grant

__all__ = [
    "ACCOUNT_VIDEOS_PER_HOUR",
    "GUEST_VIDEOS_PER_HOUR",
    "Course",
    "Grant",
    "Outcome",
    "Pace",
    "Rate",
    "Rotation",
    "Terms",
    "Turn",
    "Verdict",
    "account_tag",
    "allowed_requests",
    "checked_egress",
    "egress_names",
    "feeding_sentence",
    "hours_for",
    "mark_of",
    "ranks_fed",
    "rate_of",
    "time_text",
]
