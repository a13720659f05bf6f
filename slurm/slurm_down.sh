#!/usr/bin/env bash
# Stops what one `slurm_up.sh ROOT` started, jobs included, by process id, and nothing else.
#
#   slurm_down.sh ROOT [--wipe]      --wipe: remove ROOT too
set -u
case "${1:-}" in '' | -h | --help) sed -n '2,4s/^# \{0,1\}//p' "$0"; exit 2 ;; esac
ROOT=$(readlink -m "$1")
PATH=$PATH:/usr/sbin:/sbin
export SLURM_CONF=$ROOT/etc/slurm.conf

running() { [ -r "/proc/$1/stat" ] && ! grep -q ') [ZX] ' "/proc/$1/stat" 2>/dev/null; }
end() { # end PID: TERM, and KILL after ten seconds
  kill -TERM "$1" 2>/dev/null
  for _ in $(seq 100); do running "$1" || return 0; sleep 0.1; done
  kill -KILL "$1" 2>/dev/null
}
stop() { # stop PIDFILE NAME: only if that pid is that program
  [ -s "$1" ] && [ "$(cat "/proc/$(cat "$1")/comm" 2>/dev/null)" = "$2" ] && end "$(cat "$1")"
  rm -f "$1"
}
# Processes of this cluster's jobs, and their slurmstepd: known by SLURM_CONF and a job id in their environment.
# A shell of the user has the first alone.
job_processes() {
  local folder
  for folder in /proc/[0-9]*; do
    grep -zqxF "SLURM_CONF=$SLURM_CONF" "$folder/environ" 2>/dev/null || continue
    if grep -zq '^SLURM_JOB_ID=' "$folder/environ" 2>/dev/null || grep -qx slurmstepd "$folder/comm" 2>/dev/null; then
      [ "${folder#/proc/}" = $$ ] || echo "${folder#/proc/}"
    fi
  done
}

if [ -s "$ROOT/run/slurmctld.pid" ]; then
  timeout 10 scancel --quiet --user="$(id -un)" 2>/dev/null
  for _ in $(seq 80); do [ -z "$(timeout 5 squeue -h 2>/dev/null)" ] && break; sleep 0.1; done
fi
for file in "$ROOT"/run/slurmd.*.pid; do stop "$file" slurmd; done
stop "$ROOT/run/slurmctld.pid" slurmctld
# what a slurmd that was killed left behind
for pid in $(job_processes); do kill -KILL "$pid" 2>/dev/null; done
stop "$ROOT/run/slurmdbd.pid" slurmdbd
stop "$ROOT/run/mariadbd.pid" mariadbd
stop "$ROOT/munge/munged.pid" munged
[ "${2:-}" != --wipe ] || rm -rf "$ROOT"
exit 0
