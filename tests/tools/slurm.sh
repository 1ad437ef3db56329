#!/bin/bash
# slurm.sh VESPER SERVER DRIVER.json WRAPPER PROGRAM: Slurm's own daemons (slurmctld, slurmd, munged) give a job a GPU, in which
# packaging/pool/vesper-slurm starts a server for PROGRAM, which finds no other driver; when it has ended, so has the job, and nothing
# of it is left. In a network of its own, which nobody else reaches. Status 77 (skipped) where there is no Slurm or no such network.
set -uo pipefail
vesper=$1 server=$2 driver=$3 wrapper=$4 program=$5
skip() { echo "slurm.sh: $*" >&2; exit 77; }
fail() { echo "slurm.sh: $*" >&2; tail -n 40 "$work"/*.log >&2; exit 1; }
export PATH=$PATH:/usr/sbin
for each in slurmctld slurmd munged srun squeue sinfo ip; do
  command -v $each >/dev/null || skip "no $each"
done
if [ -z "${SLURM_INSIDE:-}" ]; then
  unshare -mnpu --fork --mount-proc true 2>/dev/null || skip "no namespaces of one's own may be made here (needs root)"
  SLURM_INSIDE=1 exec unshare -mnpu --fork --mount-proc "$0" "$@"
fi
work=$(mktemp -d "${TMPDIR:-/tmp}/vesper-slurm-XXXXXX")
trap 'kill $(jobs -p) 2>/dev/null; wait; rm -rf "$work"' EXIT
. "$(dirname "$0")/own_network.sh"

make_network 10.78.0.1/24 || skip "no interface can be made"
hostname gpu-host
mkdir -p "$work"/{bin,munge,state,spool,etc}
chmod 0755 "$work"
printf '127.0.0.1 localhost\n10.78.0.1 gpu-host\n' >"$work/etc/hosts"
mount --bind "$work/etc/hosts" /etc/hosts
ln -s "$vesper" "$work/bin/vesper"
ln -s "$server" "$work/bin/vesper-server"

head -c 1024 /dev/urandom >"$work/munge/key"
chmod 0400 "$work/munge/key"
munged --foreground --key-file="$work/munge/key" --socket="$work/munge/socket" --pid-file="$work/munge/pid" \
  --log-file="$work/munge/log" --seed-file="$work/munge/seed" --num-threads=2 --force >"$work/munged.log" 2>&1 &
until_it test -S "$work/munge/socket" || skip "munged does not listen here: $(tail -n 3 "$work/munged.log")"
cat >"$work/slurm.conf" <<END
ClusterName=test
SlurmctldHost=gpu-host(10.78.0.1)
SlurmUser=root
AuthType=auth/munge
AuthInfo=socket=$work/munge/socket
CredType=cred/munge
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
MpiDefault=none
SelectType=select/cons_tres
GresTypes=gpu
ReturnToService=2
StateSaveLocation=$work/state
SlurmdSpoolDir=$work/spool
SlurmctldPidFile=$work/slurmctld.pid
SlurmdPidFile=$work/slurmd.pid
SlurmctldLogFile=$work/slurmctld.log
SlurmdLogFile=$work/slurmd.log
JobAcctGatherType=jobacct_gather/none
KillWait=5
NodeName=gpu-host NodeAddr=10.78.0.1 CPUs=1 Gres=gpu:1 State=UNKNOWN
PartitionName=all Nodes=ALL Default=YES State=UP
END
echo 'NodeName=gpu-host Name=gpu File=/dev/null' >"$work/gres.conf"
export SLURM_CONF=$work/slurm.conf
slurmctld -D -i >"$work/slurmctld.out.log" 2>&1 &
slurmd -D >"$work/slurmd.out.log" 2>&1 &
is_idle() { [ "$(sinfo --noheader --format=%T 2>/dev/null)" = idle ]; }
until_it is_idle || skip "Slurm does not start here: $(tail -n 3 "$work/slurmctld.out.log" "$work/slurmd.out.log")"

# As on a machine with a GPU: the job's server finds the driver, the program finds Vesper's alone.
job=(env PATH="$work/bin:$PATH" HOME="$work" XDG_RUNTIME_DIR="$work" VK_DRIVER_FILES="$driver" VK_ICD_FILENAMES="$driver")
gpu_of_job() { squeue --noheader --format=%b 2>/dev/null | grep -q gpu; }
"${job[@]}" VESPER_SLURM_PATIENCE=60 "$wrapper" --gres=gpu:1 --time=5 -- sh -c "echo begun; until [ -e '$work/go' ]; do sleep 0.1; done; exec '$program'" \
  >"$work/program.log" 2>&1 &
run=$!
until_it grep -q begun "$work/program.log" || fail "the program did not begin"
gpu_of_job || fail "the job has no GPU"
timeout 5 srun --gres=gpu:1 --immediate=1 true 2>/dev/null && fail "Slurm gave the same GPU away twice"
touch "$work/go"
wait $run || fail "the program failed: status $?"
cat "$work/program.log"
is_empty() { [ -z "$(squeue --noheader 2>/dev/null)" ]; }
until_it is_empty || fail "the job has not ended"
ended() { ! pgrep '^vesper-' >/dev/null; }
until_it ended || fail "the job's server has not ended"
