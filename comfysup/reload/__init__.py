"""Following instances.json: what is to be done is decided in `plan`, and done in `reloader`."""

from comfysup.reload.outcome import Failure, Outcome
from comfysup.reload.plan import Plan, Seen, make_plan
from comfysup.reload.reloader import Reloader

__all__ = ["Failure", "Outcome", "Plan", "Reloader", "Seen", "make_plan"]
