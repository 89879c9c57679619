#!/usr/bin/env bash
# A Ray of its own in one Slurm job: sbatch slurm.sh STUDY LEDGER STORAGE [more words of `lai run`]
#
# LEDGER should lie on a disk with locks; STORAGE is a folder that all nodes see. Ray takes ports that are free, or,
# with LAI_PORTS=20000-20499 in the environment, those of that block alone: for firewalls, and then each of the jobs
# that may share a host needs another block. Temporary folder and token belong to this job alone: so jobs of several
# users may share hosts. A job that is submitted again with the same words goes on where the last one ended.
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

mine="/tmp/lai-$SLURM_JOB_ID"  # closed to others, since Ray opens what lies in it
export RAY_AUTH_MODE=token RAY_USAGE_STATS_ENABLED=0 RAY_TMPDIR="$mine/ray"
RAY_AUTH_TOKEN=$(od -An -N32 -tx1 /dev/urandom | tr -d ' \n')
export RAY_AUTH_TOKEN  # never a word of a command: those are seen by every user of a host
unset RAY_AUTH_TOKEN_PATH

cpus=${SLURM_CPUS_PER_TASK:-1}
ports=$((100 + 2 * cpus))  # Ray keeps a worker a CPU, and starts some before the last ones are gone
node=("--num-cpus=$cpus" "--num-gpus=${SLURM_GPUS_ON_NODE:-0}")
is_block() {
  [[ $1 =~ ^([1-9][0-9]{3,4})-([1-9][0-9]{3,4})$ ]] && first=${BASH_REMATCH[1]} last=${BASH_REMATCH[2]} &&
    ((first >= 1024 && last <= 65535 && last - first >= ports - 1))
}
if [[ -z ${LAI_PORTS:-} ]]; then
  first= head_port=0  # any that is free; of all ports but these three that is the default
  node+=(--dashboard-agent-listen-port=0)
elif is_block "$LAI_PORTS"; then
  head_port=$first number=$((first + 1))
  for of in node-manager object-manager runtime-env-agent dashboard-agent-grpc dashboard-agent-listen metrics-export; do
    node+=("--$of-port=$((++number))")
  done
  node+=("--min-worker-port=$((number + 1))" "--max-worker-port=$last")
else
  echo "LAI_PORTS=$LAI_PORTS: a block is FIRST-LAST, $ports ports or more from 1024 to 65535" >&2
  exit 2
fi
head_ports=("--port=$head_port")
if python3 -c 'import grpc' 2>/dev/null; then  # Ray serves clients, too, and would do so on one port in every job
  free='import socket; s = socket.socket(); s.bind(("", 0)); print(s.getsockname()[1])'
  if [[ -n $first ]]; then client_port=$((first + 1)); else client_port=$(python3 -c "$free"); fi
  head_ports+=("--ray-client-server-port=$client_port")
fi

mapfile -t hosts < <(scontrol show hostnames "$SLURM_JOB_NODELIST")
head=${hosts[0]}
# Not functions: a signal for one in the background would not reach its srun.
on_head=(srun --overlap --nodes=1 --ntasks=1 "--nodelist=$head")
on_all=(srun --overlap "--ntasks=$SLURM_JOB_NUM_NODES" --ntasks-per-node=1)

steps=()
stop() {
  for step in "${steps[@]}"; do kill "$step" 2>/dev/null || true; done
  wait || true
  "${on_all[@]}" rm -rf "$mine" || true
}
trap stop EXIT

"${on_all[@]}" sh -c 'rm -rf "$0" && mkdir -m 700 "$0"' "$mine"
"${on_head[@]}" ray start --head --block "${head_ports[@]}" --include-dashboard=false --temp-dir="$RAY_TMPDIR" "${node[@]}" &
steps+=($!)
# Ray leaves the head's address there once it is up.
wait_for='until test -s "$0"; do sleep 1; done; cat "$0"'
address=$("${on_head[@]}" timeout 300 sh -c "$wait_for" "$RAY_TMPDIR/ray_current_cluster")
if ((SLURM_JOB_NUM_NODES > 1)); then
  others=$((SLURM_JOB_NUM_NODES - 1))
  srun --overlap --nodes="$others" --ntasks="$others" --ntasks-per-node=1 --exclude="$head" \
    ray start --block "--address=$address" "${node[@]}" &
  steps+=($!)
fi

# The gate: nothing is trained unless every node has come, runs the same code and sees the storage.
gate=(--address "$address" --nodes "$SLURM_JOB_NUM_NODES" --storage "$storage")
for word in "$@"; do [[ $word != --ship-code ]] || gate+=("$word"); done
"${on_head[@]}" lai cluster check "${gate[@]}" &
wait $!
# In the background, so that Slurm's TERM reaches the driver, which then ends with checkpoints and code 3.
"${on_head[@]}" lai run "$study" --ledger "$ledger" --storage "$storage" --address "$address" "$@" &
driver=$!
trap 'kill -TERM "$driver" 2>/dev/null || true' TERM INT
code=0
wait "$driver" || code=$?
while kill -0 "$driver" 2>/dev/null; do
  code=0
  wait "$driver" || code=$?
done
exit "$code"
