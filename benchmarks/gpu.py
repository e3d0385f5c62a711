"""Training on this GPU: every phase, precision and executor: `python benchmarks/gpu.py --gpu-hour-price 4`.

Prints one JSON object; `step_times` are its entries for pipelines/planning/step_times.yaml. The tables for
docs/benchmarks.md go to stderr. `make benchmark-gpu` runs the tests for GPUs first.
"""

import dataclasses
import json
import sys
import time
from collections.abc import Callable
from functools import partial
from typing import Annotated, Any, get_args

import progan  # isort: skip # noqa: F401 # before torch is loaded, it says how cuBLAS works
import torch
import typer
from torch.utils.flop_counter import FlopCounterMode
from train_step import load, noise_trainer, step_times

from progan.arithmetic import arithmetic
from progan.config import Config, PhaseConfig, Precision
from progan.device import device_name
from progan.memory import training_bytes
from progan.training import PhaseTrainer

GIB = 2**30
SPREAD = 1.3  # of the entries: a GPU that does nothing else varies little, but cards of one name differ
STATE_PASSES = 10  # over all weights in an iteration, at least: Adam reads four values and writes three; EMA

Presets = Annotated[list[str] | None, typer.Argument(help="Presets; celebahq-1024 and cifar10 if none.")]
Seconds = Annotated[float, typer.Option(help="How long to measure each case.")]
Price = Annotated[float, typer.Option(help="Of an hour of this GPU, for the price of whole schedules.")]


def configured(preset: str, precision: str) -> Config:
    loaded = load(preset)
    return dataclasses.replace(loaded, training=dataclasses.replace(loaded.training, precision=precision))


def trainer_of(loaded: Config, phase: PhaseConfig, fading: bool) -> PhaseTrainer:
    """Of a phase that only fades, or is only stable, on noise."""
    kimg = {"fade_kimg": 1e6, "stable_kimg": 0.0} if fading else {"fade_kimg": 0.0, "stable_kimg": 1e6}
    return noise_trainer(loaded, dataclasses.replace(phase, **kimg))


def seconds_per_call(function: Callable[[], object], seconds: float, least: int = 3) -> float:
    """The mean over `seconds`, waiting for the device only now and then, as training does."""
    torch.cuda.synchronize()
    began, calls = time.perf_counter(), 0
    while calls < least or time.perf_counter() - began < seconds:
        function()
        calls += 1
        if calls % 8 == 0:
            torch.cuda.synchronize()
    torch.cuda.synchronize()
    return (time.perf_counter() - began) / calls


def ceilings() -> dict[str, float]:
    """What this GPU reaches: operations a second of products by precision, and bytes a second of copies."""
    peaks = {}
    for precision in get_args(Precision):
        dtype = torch.bfloat16 if precision == "bfloat16" else torch.float32
        factor = torch.randn(8192, 8192, device="cuda", dtype=dtype)
        with arithmetic(precision):
            peaks[precision] = 2 * 8192**3 / seconds_per_call(partial(torch.matmul, factor, factor), 0.3)
    block = torch.empty(GIB, dtype=torch.uint8, device="cuda")
    to = block.clone()
    peaks["bytes"] = 2 * GIB / seconds_per_call(lambda: to.copy_(block), 0.3)
    return peaks


def least_work(trainer: PhaseTrainer) -> tuple[int, int]:
    """The operations of an iteration and its fewest bytes: what gradients need is written and read once."""
    saved: dict[int, torch.UntypedStorage] = {}

    def save(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        saved[storage.data_ptr()] = storage
        return tensor

    minibatches = trainer.feed.take(trainer.images_shown)
    hooks = torch.autograd.graph.saved_tensors_hooks(save, lambda tensor: tensor)
    with FlopCounterMode(display=False) as counter, hooks:
        trainer.executor.run_operations(minibatches)
    models = trainer.models
    weights = sum(adam.values.nbytes for adam in (models.generator_adam, models.discriminator_adam))
    activations = sum(storage.nbytes() for storage in saved.values())
    return counter.get_total_flops(), 2 * activations + STATE_PASSES * weights


def measured(loaded: Config, key: str, peaks: dict[str, float], seconds: float) -> dict[str, Any]:
    """One phase in one precision."""
    phase, precision = loaded.phases[key], loaded.training.precision
    result: dict[str, Any] = {"minibatch": phase.minibatch}
    with arithmetic(precision):
        torch.cuda.empty_cache()
        trainer = trainer_of(loaded, phase, fading=False)
        torch.cuda.reset_peak_memory_stats()
        began = time.perf_counter()
        trainer.iterate()
        torch.cuda.synchronize()
        result["trial_seconds"] = time.perf_counter() - began
        graph = seconds_per_call(trainer.iterate, seconds)
        result["peak_gib"] = torch.cuda.max_memory_allocated() / GIB
        result["replays"] = trainer.executor.replays
        trainer.executor.run = trainer.executor.run_operations  # type: ignore[method-assign]
        trainer.iterate()
        eager = seconds_per_call(trainer.iterate, seconds / 2)
        flops, moved = least_work(trainer)
        del trainer
        rates = {"graph": phase.minibatch / graph, "eager": phase.minibatch / eager}
        if not phase.is_first:
            fading = trainer_of(loaded, phase, fading=True)
            fading.iterate()
            rates["fading"] = phase.minibatch / seconds_per_call(fading.iterate, seconds / 2)
            result["replays"] += fading.executor.replays
    floor = max(flops / peaks[precision], moved / peaks["bytes"])
    return result | {
        "images_per_second": rates,
        "seconds_per_kimg": 1000 / rates["graph"],
        "counted_gib": training_bytes(loaded, key, 1) / GIB,
        "teraflops": flops / 1e12,
        "gigabytes": moved / 1e9,
        "roofline_share": floor / graph,
    }


def counted_rates(phase: dict[str, Any]) -> dict[str, float]:
    """The images per second of a phase that count: as a graph, stable and fading."""
    return {name: rate for name, rate in phase["images_per_second"].items() if name != "eager"}


def hours(loaded: Config, phases: dict[str, dict[str, Any]]) -> float:
    """Of the whole schedule, without measures."""
    total = 0.0
    for key, phase in loaded.phases.items():
        rates = phases[key]["images_per_second"]
        total += phase.stable_kimg / rates["graph"] + phase.fade_kimg / rates.get("fading", rates["graph"])
    return 1000 * total / 3600


def table(results: dict[str, dict[str, dict[str, Any]]], preset: str) -> list[str]:
    """Markdown: images a second by phase; with graphs and, in brackets, without."""
    lines = ["| " + preset + " | " + " | ".join(results) + " |", "|---" * (len(results) + 1) + "|"]
    for key in next(iter(results.values())):
        cells = []
        for phases in results.values():
            rates, phase = phases[key]["images_per_second"], phases[key]
            share = f"{phase['roofline_share']:.0%}, {phase['peak_gib']:.1f} GiB"
            cells.append(f"{rates['graph']:,.3g} ({rates['eager']:,.3g}), {share}")
        lines.append(f"| {key}, minibatch {phases[key]['minibatch']} | " + " | ".join(cells) + " |")
    return lines


def main(names: Presets = None, seconds: Seconds = 1.0, gpu_hour_price: Price = 0.0) -> None:
    if not torch.cuda.is_available():
        sys.exit("benchmarks/gpu.py: no CUDA device here")
    peaks = ceilings()
    output: dict[str, Any] = {"device": device_name(), "torch": torch.__version__, "ceilings": peaks}
    output |= {"presets": {}, "step_times": []}
    for preset in names or ["celebahq-1024", "cifar10"]:
        results, schedules = {}, {}
        for precision in get_args(Precision):
            loaded = configured(preset, precision)
            results[precision] = {key: measured(loaded, key, peaks, seconds) for key in loaded.phases}
            total = hours(loaded, results[precision])
            schedules[precision] = {"hours": total, "price": total * gpu_hour_price}
            measured_rates = {key: counted_rates(phase) for key, phase in results[precision].items()}
            how = f"make benchmark-gpu, {preset}, torch {torch.__version__}"
            output["step_times"].append(step_times(loaded, measured_rates, how, SPREAD))
        print(*table(results, preset), sep="\n", file=sys.stderr)
        output["presets"][preset] = {"phases": results, "schedules": schedules}
    print(json.dumps(output, indent=2))


if __name__ == "__main__":
    typer.run(main)
