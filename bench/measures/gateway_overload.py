"""Three times as many requests as the gateway can serve; half as many as it can before and after.

They come at an even pace, whether or not there are answers, on connections that stay open. The load
generator needs the same cores: what it sees is later than it was by at most how late it is itself.
That is given beside, with the CPU that each part has used: what others use, these figures lack.
"""

import math
import statistics
from collections import Counter
from collections.abc import Iterable, Mapping
from contextlib import suppress

import psutil

from bench.tools.gateway_stage import FEED, Stage
from bench.tools.http_load import NOT_ANSWERED, Outcome, Phase, generate
from bench.tools.measure import Measure
from devstack.programs import GATEWAY

TIMES = 3
CONNECTIONS = 512
CALM_S = 4.0
AFTER_S = 12.0  # longer than recovery may take
STRETCH = 5 / 3  # nine rounds of four seconds make a minute
RECOVERED_S = 1.0  # without a bad answer or a slow one
SLOWER_AT_MOST = 2.0  # than before
STEP_S = 0.1


async def overload(stage: Stage, peak_per_s: float) -> list[Measure]:
    """`peak_per_s` are served when no more are asked for."""
    cpu_s: list[Mapping[str, float]] = []
    calm = Phase(peak_per_s / 2, CALM_S)
    flood = Phase(peak_per_s * TIMES, stage.site.rounds * stage.site.seconds * STRETCH)
    before, during, after = await generate(
        stage.programs[GATEWAY].address,
        FEED,
        stage.tokens,
        [calm, flood, calm._replace(seconds=AFTER_S)],
        connections=CONNECTIONS,
        at_end=lambda: cpu_s.append(_cpu_s(stage)),
    )
    unserved = sum(not each.is_good for each in before.answers)
    calm_p99_ms = _p99(each.took_ms for each in before.answers)
    return [
        *_answers(during, peak_per_s, stage.site.rounds),
        *_cores(during, cpu_s[0], cpu_s[1]),
        Measure("gateway.calm_p99", "ms", [calm_p99_ms]),
        Measure("gateway.calm_unserved", "requests", [unserved], at_most=0),
        Measure(
            "gateway.recovery", "s", [_recovery_s(after, SLOWER_AT_MOST * calm_p99_ms)], at_most=10
        ),
    ]


def _answers(during: Outcome, peak_per_s: float, slices: int) -> list[Measure]:
    """What became of the flood; goodput is told of each of so many slices of it."""
    answers, seconds = during.answers, during.phase.seconds
    refused = [each for each in answers if each.is_refused]
    good = Counter(int(each.end_s * slices / seconds) for each in answers if each.is_good)
    goodput = [good[number] * slices / seconds / peak_per_s for number in range(slices)]
    offered = sum(each.status != NOT_ANSWERED for each in answers) / seconds / peak_per_s
    served_p99_ms = _p99(each.took_ms for each in answers if each.is_good)
    late_p99_ms = _p99(each.late_ms for each in answers)
    silent = sum(not each.is_whole for each in refused)
    failed = sum(not each.is_good and not each.is_refused for each in answers)
    name = "gateway.overload"
    return [
        Measure(f"{name}_goodput", "of peak", goodput, at_least=0.8),
        Measure(f"{name}_offered", "x peak", [offered], at_least=0.97 * TIMES),
        Measure(f"{name}_served_p99", "ms", [served_p99_ms]),
        Measure(f"{name}_refused_p99", "ms", [_p99(each.took_ms for each in refused)], at_most=50),
        Measure(f"{name}_load_late_p99", "ms", [late_p99_ms]),
        Measure(f"{name}_no_retry_after", "refusals", [silent], at_most=0),
        Measure(f"{name}_failed", "requests", [failed], at_most=0),
    ]


def _cores(
    during: Outcome, before: Mapping[str, float], after: Mapping[str, float]
) -> list[Measure]:
    used_s = {part: after[part] - before[part] for part in after} | {"load": during.cpu_s}
    used_s["stores"] -= during.cpu_s
    return [
        Measure(f"gateway.overload_{part}_cpu", "cores", [part_s / during.phase.seconds])
        for part, part_s in used_s.items()
    ]


def _cpu_s(stage: Stage) -> Mapping[str, float]:
    """What each part has used so far, "others" what is not ours. The load's is with the stores'."""
    all_s = 0.0
    for process in psutil.Process().children(recursive=True):
        with suppress(psutil.NoSuchProcess):
            times = process.cpu_times()
            all_s += times.user + times.system
    programs_s = sum(each.cpu_s for each in stage.programs.values())
    gateway_s, machine = stage.programs[GATEWAY].cpu_s, psutil.cpu_times()
    return {
        "gateway": gateway_s,
        "services": programs_s - gateway_s,
        "stores": all_s - programs_s,
        "others": machine.user + machine.nice + machine.system - all_s,
    }


def _recovery_s(after: Outcome, slow_ms: float) -> float:
    """When the first second began in which all were served, and soon; never is the whole phase."""
    steps = round((after.phase.seconds - RECOVERED_S) / STEP_S)
    for start_s in (STEP_S * step for step in range(steps)):
        within = [each for each in after.answers if 0 <= each.sent_s - start_s < RECOVERED_S]
        if all(each.is_good for each in within) and _p99(each.took_ms for each in within) < slow_ms:
            return start_s
    return after.phase.seconds


def _p99(values: Iterable[float]) -> float:
    """Of less than two, which would mean nothing: endless."""
    found = [*values]
    return statistics.quantiles(found, n=100)[98] if len(found) > 1 else math.inf
