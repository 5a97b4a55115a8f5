"""Any command of openmm-rare, with workers that SLURM starts: one job each, on whatever nodes it finds.

    python slurm.py --jobs 8 --queue short -- tps alanine_dipeptide --chains 8 --out runs/ad --resume

Needs dask-jobqueue (pip install dask-jobqueue) and runs where jobs are sent from, for as long as the command takes; what it
has finished is kept, so that it may be stopped and started again. With --local N it tries the same with N processes of this
machine, and --show prints the job script and ends.
"""

import argparse
import sys
import time

_WAIT_S = 7 * 24 * 3600.0


def cluster_of(arguments):
    """The scheduler, in this process, and workers of one thread each."""
    if arguments.local:
        from distributed import LocalCluster

        return LocalCluster(n_workers=arguments.local, threads_per_worker=1, dashboard_address=None)
    from dask_jobqueue import SLURMCluster

    cluster = SLURMCluster(
        queue=arguments.queue,
        account=arguments.account,
        walltime=arguments.walltime,
        cores=arguments.workers,
        processes=arguments.workers,  # of one thread each
        memory=arguments.memory,
        job_script_prologue=["export OMP_NUM_THREADS=1", *arguments.prologue],
        job_extra_directives=arguments.directive,
        # a worker leaves before its job ends, and others take its tasks
        worker_extra_args=["--lifetime", arguments.lifetime, "--lifetime-stagger", "5m"],
    )
    if not arguments.show:
        cluster.adapt(minimum_jobs=arguments.jobs, maximum_jobs=arguments.jobs)  # jobs that end are sent again
    return cluster


def parse(arguments):
    """The command line; what follows -- is that of openmm-rare."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--workers", type=int, default=1, help="in each job: one for a core, or a few for a GPU")
    parser.add_argument("--queue", help="partition")
    parser.add_argument("--account")
    parser.add_argument("--walltime", default="04:00:00", help="of a job")
    parser.add_argument("--lifetime", default="230m", help="of a worker: a little less")
    parser.add_argument("--memory", default="4GB", help="of a job")
    parser.add_argument("--directive", action="append", default=[], help='more for SLURM, such as "--gres=gpu:1"; repeatable')
    parser.add_argument("--prologue", action="append", default=[], help='before workers start, such as "module load cuda"')
    parser.add_argument("--local", type=int, default=0, metavar="N", help="no SLURM, but so many processes of this machine")
    parser.add_argument("--show", action="store_true", help="print the job script and end")
    parser.add_argument("command", nargs="*", help="of openmm-rare, after --: tps, analyze, rate or scan with their options")
    return parser.parse_args(arguments)


def main():
    """Start workers, wait for the first one, and run the command."""
    arguments = parse(sys.argv[1:])
    with cluster_of(arguments) as cluster:
        if arguments.show:
            print(cluster.job_script())
            return
        end = time.monotonic() + _WAIT_S
        while not cluster.scheduler_info["workers"]:
            if time.monotonic() > end:
                sys.exit("no job has started")
            time.sleep(1.0)
        from openmm_rare.cli.main import main as openmm_rare

        openmm_rare([*arguments.command, "--scheduler", cluster.scheduler_address], prog_name="openmm-rare")


if __name__ == "__main__":
    main()
