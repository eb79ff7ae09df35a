"""Diagnoses of exits."""

from comfysup.comfyui.diagnosis.circumstances import Circumstances
from comfysup.comfyui.diagnosis.diagnosis import diagnose
from comfysup.supervision.life import Exit

KNOWN = Circumstances(flags=frozenset({"--lowvram", "--highvram", "--cpu"}))


def of(
    log: str,
    exit_code: int | None = 1,
    signal: str | None = None,
    *,
    oom_killed: bool = False,
    circumstances: Circumstances = KNOWN,
) -> Exit:
    return diagnose(
        at=0.0,
        exit_code=None if signal else exit_code,
        signal=signal,
        log_tail=log.splitlines(),
        oom_killed=oom_killed,
        circumstances=circumstances,
    )
