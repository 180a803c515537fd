"""`ravatar-audio load`: thousands of simulated clients, and a verdict."""

import json
import os
import sys
from functools import partial
from pathlib import Path
from typing import Any

import click

from ravatar_audio.cli.output import echo
from ravatar_audio.cli.run import log_to_stderr, run
from ravatar_audio.load import LoadPlan, LoadRun, Progress, Requirement, Workload, demand, local_workers
from ravatar_audio.load.report import page, progress_line, text
from ravatar_audio.settings import Settings

NOT_MET_EXIT_CODE = 8


@click.command(name="load")
@click.option("--clients", type=click.IntRange(1, 1_000_000), required=True, help="How many.")
@click.option(
    "--ramp",
    type=click.FloatRange(0.0, min_open=True),
    default=10.0,
    show_default=True,
    metavar="PER_SECOND",
    help="How many come each second.",
)
@click.option(
    "--minutes",
    type=click.FloatRange(0.0, min_open=True),
    default=1.0,
    show_default=True,
    help="How long each client stays, all its visits together.",
)
@click.option(
    "--workload", "workload_file", type=click.Path(dir_okay=False), help="What they do (TOML); default: open streams."
)
@click.option("--seed", type=click.IntRange(0), help="Of everything that is drawn; default: the workload's, else 1.")
@click.option("--scheduler", metavar="ADDRESS", help="A Dask scheduler whose workers run the clients; extra 'load'.")
@click.option(
    "--workers", "worker_count", type=click.IntRange(1), help="Processes; default: one for each core, or Dask worker."
)
@click.option("--json", "json_file", type=click.Path(dir_okay=False), help="The result as JSON, into this file.")
@click.option("--report", "report_file", type=click.Path(dir_okay=False), help="The result as a page of HTML.")
@click.option(
    "--require",
    "required",
    multiple=True,
    metavar="WHAT",
    help="As 'p99(first_reply) < 800ms', 'errors < 1%'. Repeatable.",
)
@click.option(
    "--i-may-load",
    "allowed",
    multiple=True,
    metavar="HOST",
    help="A host that is not private, and is yours. Repeatable.",
)
@click.option("--plan", "only_plan", is_flag=True, help="Show what the run takes, and run nothing.")
@click.option("--quiet", is_flag=True, help="No line for each second.")
@click.option("--api-url", help="Address of the platform; default: the settings'.")
@click.option("--ws-url", help="Address of its WebSocket; default: by api_url.")
@click.option("--ca-file", type=click.Path(dir_okay=False), help="Authority of its certificate (PEM).")
@click.option(
    "--settings", "settings_file", type=click.Path(), help="TOML file of settings; default: RAVATAR_SETTINGS."
)
def command(
    clients: int,
    ramp: float,
    minutes: float,
    workload_file: str | None,
    seed: int | None,
    scheduler: str | None,
    worker_count: int | None,
    json_file: str | None,
    report_file: str | None,
    required: tuple[str, ...],
    allowed: tuple[str, ...],
    only_plan: bool,
    quiet: bool,
    settings_file: str | None,
    **given: Any,
) -> None:
    """Run simulated clients against a platform: token, session, speech in real time, replies, end.

    They come by a schedule that is fixed beforehand, whatever the platform does. The generator's own lateness is shown
    beside the platform's; when it is too late itself it says so, and no requirement of time is met. Exit code 8: a
    requirement was not met, or a worker was lost. Only addresses of this machine and of private networks are loaded,
    and those of --i-may-load. docs/load.md has the workload's fields.
    """
    log_to_stderr(40)  # thousands of clients' warnings are counted, not written
    requirements = [Requirement.parse(item) for item in required]
    plan = make_plan(workload_file, seed, settings_file, given, clients, ramp, minutes, allowed)
    if only_plan:
        echo("\n".join(demand(plan.schedule).lines()))
        return
    if scheduler is None:
        open_workers: Any = partial(local_workers, count=min(clients, worker_count or os.cpu_count() or 1))
    else:
        from ravatar_audio.load.dask_workers import dask_workers

        open_workers = partial(dask_workers, scheduler=scheduler, count=worker_count)
    load = LoadRun(plan, open_workers)

    def show(progress: Progress) -> None:
        if not quiet:
            echo(progress_line(progress, clients), err=True)

    async def work() -> None:
        await load.run(show)

    try:
        run(work)
    finally:
        if load.result.began_at is not None:  # also of a run that was interrupted
            result = load.result.as_dict(requirements)
            if json_file is not None:
                Path(json_file).write_text(json.dumps(result, indent=1), encoding="utf-8")
            if report_file is not None:
                Path(report_file).write_text(page(result), encoding="utf-8")
            echo(text(result))
    if result["counts"]["lost_workers"] or not all(item["is_met"] for item in result["requirements"]):
        sys.exit(NOT_MET_EXIT_CODE)


def make_plan(
    workload_file: str | None,
    seed: int | None,
    settings_file: str | None,
    given: dict[str, Any],
    clients: int,
    ramp: float,
    minutes: float,
    allowed: tuple[str, ...],
) -> LoadPlan:
    """Make the plan that the command's options mean; raises SettingsError."""
    from dataclasses import fields, replace

    workload = Workload.load(workload_file) if workload_file else Workload()
    if seed is not None:
        workload = replace(workload, seed=seed)
    loaded, plain = Settings.load(settings_file, **given), Settings(api_url="http://localhost")
    settings = {
        item.name: getattr(loaded, item.name)
        for item in fields(Settings)
        if getattr(loaded, item.name) != getattr(plain, item.name)
    }
    settings["api_url"] = loaded.api_url
    return LoadPlan(settings, clients, ramp, minutes, workload, allowed)
