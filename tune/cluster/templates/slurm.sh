#!/usr/bin/env bash
# A Ray of its own in one Slurm job: sbatch slurm.sh STUDY LEDGER STORAGE [more words of `lai run`]
#
# LEDGER should lie on a disk with locks; STORAGE is a folder that all nodes see. Ports, temporary folder and
# token belong to this job alone, so jobs of several users may share hosts. A job that is submitted again with
# the same words goes on where the last one ended.
#SBATCH --job-name=lai-tune
#SBATCH --nodes=3
#SBATCH --ntasks-per-node=1
#SBATCH --cpus-per-task=8
#SBATCH --gpus-per-node=1
#SBATCH --time=24:00:00
#SBATCH --signal=B:TERM@120
set -euo pipefail
umask 077

study=$1 ledger=$2 storage=$3
shift 3

# A block of 100 ports below those that the system hands out, by the job's number: all nodes know it.
first=$((10000 + SLURM_JOB_ID % 200 * 100))
export RAY_AUTH_MODE=token RAY_USAGE_STATS_ENABLED=0 RAY_TMPDIR="/tmp/lai-$SLURM_JOB_ID"
RAY_AUTH_TOKEN=$(od -An -N32 -tx1 /dev/urandom | tr -d ' \n')
export RAY_AUTH_TOKEN  # never a word of a command: those are seen by every user of a host
unset RAY_AUTH_TOKEN_PATH

ports=(
  "--node-manager-port=$((first + 1))" "--object-manager-port=$((first + 2))"
  "--runtime-env-agent-port=$((first + 3))" "--metrics-export-port=$((first + 4))"
  "--dashboard-agent-listen-port=$((first + 5))" "--dashboard-agent-grpc-port=$((first + 6))"
  "--min-worker-port=$((first + 10))" "--max-worker-port=$((first + 99))"
)
size=("--num-cpus=${SLURM_CPUS_PER_TASK:-1}" "--num-gpus=${SLURM_GPUS_ON_NODE:-0}")

mapfile -t hosts < <(scontrol show hostnames "$SLURM_JOB_NODELIST")
head=${hosts[0]}
address=$(srun --overlap --nodes=1 --ntasks=1 --nodelist="$head" hostname --ip-address | awk '{print $1}'):$first

steps=()
stop() {
  for step in "${steps[@]}"; do kill "$step" 2>/dev/null || true; done
  wait || true
  srun --overlap --ntasks="$SLURM_JOB_NUM_NODES" --ntasks-per-node=1 rm -rf "$RAY_TMPDIR" || true
}
trap stop EXIT

srun --overlap --nodes=1 --ntasks=1 --nodelist="$head" \
  ray start --head --block "--port=$first" --include-dashboard=false --temp-dir="$RAY_TMPDIR" \
  "${ports[@]}" "${size[@]}" &
steps+=($!)
if ((SLURM_JOB_NUM_NODES > 1)); then
  others=$((SLURM_JOB_NUM_NODES - 1))
  sleep "${LAI_HEAD_START_S:-20}"  # a worker gives up soon if no head answers
  srun --overlap --nodes="$others" --ntasks="$others" --ntasks-per-node=1 --exclude="$head" \
    ray start --block "--address=$address" "${ports[@]}" "${size[@]}" &
  steps+=($!)
fi

lai_head() { srun --overlap --nodes=1 --ntasks=1 --nodelist="$head" lai "$@"; }

# The gate: nothing is trained unless every node has come, runs the same code and sees the storage.
for _ in {1..12}; do
  (exec 3<>"/dev/tcp/${address%:*}/$first") 2>/dev/null && break
  sleep 5
done
lai_head cluster check --address "$address" --nodes "$SLURM_JOB_NUM_NODES" --storage "$storage" &
wait $!
# In the background, so that Slurm's TERM reaches the driver, which then ends with checkpoints and code 3.
lai_head run "$study" --ledger "$ledger" --storage "$storage" --address "$address" "$@" &
driver=$!
trap 'kill -TERM "$driver" 2>/dev/null || true' TERM INT
code=0
wait "$driver" || code=$?
while kill -0 "$driver" 2>/dev/null; do
  code=0
  wait "$driver" || code=$?
done
exit "$code"
