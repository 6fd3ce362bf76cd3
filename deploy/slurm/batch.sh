#!/bin/bash
# Denoises the series of a trial as an array of eight tasks, each with its shard of them; needs no Ray.
#
#     sbatch deploy/slurm/batch.sh /shared/trial /shared/denoised
#
# What was done is not done again: the same command goes on where an array ended. Options of `nsn2n denoise` follow.
#SBATCH --job-name=nsn2n
#SBATCH --array=0-7
#SBATCH --cpus-per-task=2
#SBATCH --mem=3G
#SBATCH --signal=B:TERM@120
#SBATCH --requeue
set -euo pipefail

# The shard comes from SLURM_ARRAY_TASK_ID, SLURM_ARRAY_TASK_COUNT and SLURM_ARRAY_TASK_MIN. `exec`, so that a signal
# of Slurm reaches nsn2n, which cancels the series in work.
exec nsn2n batch "$@" --num-cpus "${SLURM_CPUS_PER_TASK:-1}"
