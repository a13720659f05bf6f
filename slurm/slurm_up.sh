#!/usr/bin/env bash
# Starts a private Slurm on 127.0.0.1 for development and tests: no systemd, no cgroups, nothing outside ROOT.
#
#   slurm_up.sh ROOT        ROOT: a new or earlier state folder with a short path (sockets allow 108 characters)
#   eval "$(slurm_up.sh ROOT)"   ... and point this shell's sbatch, squeue, sacct at it
#   slurm_down.sh ROOT [--wipe]
#
# Environment:
#   PORT0=16817     first of the ports used: PORT0 (slurmctld), PORT0+2 (slurmdbd), PORT0+10... (one slurmd a node)
#   NODES=1  CPUS=32  MEM=65536  GPUS=8     of each node; cores and memory may be more than the machine has
#   PREEMPT=0|1|signal   a second partition `urgent` whose jobs push those of `gpu` back into the queue: with SIGTERM
#                        alone, or (signal) with the user's signal of sbatch --signal first
#   ACCT=none|dbd   dbd: slurmdbd over a MariaDB of its own, so that sacct answers
#   CRED_EXPIRE=10  seconds that a requeued job waits before it may start (a cluster's default is 120)
#   GRACE=10  KILLWAIT=5  NODE_TIMEOUT=20   seconds: preemption warning, SIGTERM to SIGKILL, silence until a node is down
# Debian: apt-get install --no-install-recommends slurmctld slurmd slurm-client munge
#         and for ACCT=dbd slurmdbd mariadb-server-core mariadb-client-core
set -euo pipefail
usage() { sed -n '2,19s/^# \{0,1\}//p' "$0"; exit "$1"; }
case "${1:-}" in '') usage 2 >&2 ;; -h | --help) usage 0 ;; esac
ROOT=$(readlink -m "$1")
PORT0=${PORT0:-16817} NODES=${NODES:-1} CPUS=${CPUS:-32} MEM=${MEM:-65536} GPUS=${GPUS:-8}
PREEMPT=${PREEMPT:-0} ACCT=${ACCT:-none}
PATH=$PATH:/usr/sbin:/sbin
USER_NAME=$(id -un) HOST=$(uname -n)
HOST=${HOST%%.*}

fail() { echo "error: $*" >&2; exit 1; }
# a zombie is not alive, though kill -0 reaches it
alive() { [ -s "$1" ] && [ -r "/proc/$(cat "$1")/stat" ] && ! grep -q ') [ZX] ' "/proc/$(cat "$1")/stat" 2>/dev/null; }
# daemons must not keep the caller's pipes open
start() { "$@" </dev/null >>"$ROOT/log/start.log" 2>&1; }
wait_for() { # wait_for SECONDS COMMAND...
  local until=$((SECONDS + $1)); shift
  until "$@" >/dev/null 2>&1; do [ $SECONDS -lt $until ] || return 1; sleep 0.05; done
}

check() {
  local program programs="munged slurmctld slurmd sinfo"
  [ "$ACCT" = dbd ] && programs="$programs slurmdbd sacctmgr mariadbd mariadb mariadb-install-db"
  for program in $programs; do
    command -v "$program" >/dev/null || fail "$program is not installed; see the head of $0 for the packages"
  done
  case "$PREEMPT" in 0 | 1 | signal) ;; *) fail "PREEMPT=$PREEMPT: 0, 1 or signal" ;; esac
  case "$ACCT" in none | dbd) ;; *) fail "ACCT=$ACCT: none or dbd" ;; esac
  [ ${#ROOT} -le 60 ] || fail "$ROOT is too long for the path of a socket; at most 60 characters"
  port_free "$PORT0" slurmctld
  [ "$ACCT" = none ] || port_free $((PORT0 + 2)) slurmdbd
  local i
  for i in $(seq 0 $((NODES - 1))); do port_free $((PORT0 + 10 + i)) "slurmd.gpu$i"; done
}
port_free() { # port_free PORT DAEMON: unless that daemon of ours has it
  alive "$ROOT/run/$2.pid" || ! (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null || fail "port $1 is in use; choose another PORT0"
}

write_conf() {
  cat <<CONF
ClusterName=lop
SlurmctldHost=$HOST(127.0.0.1)
SlurmctldPort=$PORT0
SlurmUser=$USER_NAME
SlurmdUser=$USER_NAME
AuthType=auth/munge
AuthInfo=socket=$ROOT/munge/socket,cred_expire=${CRED_EXPIRE:-10}
CredType=cred/munge
StateSaveLocation=$ROOT/state
SlurmdSpoolDir=$ROOT/spool/%n
SlurmctldPidFile=$ROOT/run/slurmctld.pid
SlurmdPidFile=$ROOT/run/slurmd.%n.pid
SlurmctldLogFile=$ROOT/log/slurmctld.log
SlurmdLogFile=$ROOT/log/slurmd.%n.log
CommunicationParameters=block_null_hash,NoInAddrAny,NoCtldInAddrAny
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
MpiDefault=none
SwitchType=switch/none
ReturnToService=2
JobRequeue=1
KillWait=${KILLWAIT:-5}
MinJobAge=3600
SlurmctldTimeout=30
SlurmdTimeout=${NODE_TIMEOUT:-20}
SchedulerParameters=batch_sched_delay=0,sched_interval=1,bf_interval=1
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
GresTypes=gpu
SlurmdParameters=config_overrides
CONF
  if [ "$ACCT" = dbd ]; then
    echo "AccountingStorageType=accounting_storage/slurmdbd"
    echo "AccountingStorageHost=127.0.0.1"
    echo "AccountingStoragePort=$((PORT0 + 2))"
    echo "AccountingStoragePass=$ROOT/munge/socket"
    echo "AccountingStorageTRES=gres/gpu"
  else
    echo "AccountingStorageType=accounting_storage/none"
  fi
  local i gres=""
  [ "$GPUS" -gt 0 ] && gres="Gres=gpu:$GPUS"
  for i in $(seq 0 $((NODES - 1))); do
    echo "NodeName=gpu$i NodeHostname=$HOST NodeAddr=127.0.0.1 Port=$((PORT0 + 10 + i)) CPUs=$CPUS Boards=1" \
      "SocketsPerBoard=1 CoresPerSocket=$CPUS ThreadsPerCore=1 RealMemory=$MEM $gres State=UNKNOWN"
  done
  local common="Nodes=ALL MaxTime=INFINITE DefaultTime=60 DefMemPerCPU=512 State=UP OverSubscribe=NO"
  echo "PartitionName=gpu Default=YES PriorityTier=1 GraceTime=${GRACE:-10} $common"
  if [ "$PREEMPT" != 0 ]; then
    echo "PartitionName=urgent PriorityTier=10 PreemptMode=OFF $common"
    echo "PreemptType=preempt/partition_prio"
    echo "PreemptMode=REQUEUE"
    [ "$PREEMPT" = signal ] && echo "SlurmctldParameters=preempt_send_user_signal"
  fi
  return 0
}

# Slurm counts a GPU only where its device file is a character device: clones of /dev/null, or terminals without mknod
write_gres() {
  local device=$ROOT/dev/gpu i
  for i in $(seq 0 $((GPUS - 1))); do
    [ -c "$device$i" ] || mknod -m 666 "$device$i" c 1 3 2>/dev/null || { device=/dev/tty; break; }
  done
  [ "$GPUS" -gt 0 ] || return 0
  for i in $(seq 0 $((NODES - 1))); do echo "NodeName=gpu$i Name=gpu File=${device}[0-$((GPUS - 1))]"; done
}

start_munge() {
  [ -s "$ROOT/munge/key" ] || (umask 077 && head -c 128 /dev/urandom >"$ROOT/munge/key")
  alive "$ROOT/munge/munged.pid" && return
  rm -f "$ROOT/munge/munged.pid"
  start munged --force --num-threads=2 --key-file="$ROOT/munge/key" --socket="$ROOT/munge/socket" \
    --pid-file="$ROOT/munge/munged.pid" --log-file="$ROOT/munge/munged.log" --seed-file="$ROOT/munge/seed"
}

start_accounting() {
  local data=$ROOT/mariadb/data socket=$ROOT/mariadb/socket
  mkdir -p "$ROOT/mariadb"
  [ -d "$data/mysql" ] || start mariadb-install-db --no-defaults --datadir="$data" --user="$USER_NAME" \
    --auth-root-authentication-method=socket --auth-root-socket-user="$USER_NAME" --skip-test-db --skip-name-resolve
  if ! alive "$ROOT/run/mariadbd.pid"; then
    mariadbd --no-defaults --user="$USER_NAME" --datadir="$data" --socket="$socket" --skip-networking \
      --pid-file="$ROOT/run/mariadbd.pid" --innodb-buffer-pool-size=32M --innodb-log-file-size=8M \
      --innodb-lock-wait-timeout=900 --innodb-flush-log-at-trx-commit=0 --performance-schema=OFF --skip-log-bin \
      </dev/null >>"$ROOT/log/start.log" 2>&1 &
    disown
    wait_for 30 mariadb --no-defaults --socket="$socket" -e "select 1" || fail "MariaDB did not start; see $ROOT/log"
  fi
  (umask 077 && cat >"$ROOT/etc/slurmdbd.conf" <<CONF
DbdHost=$HOST
DbdAddr=127.0.0.1
DbdPort=$((PORT0 + 2))
SlurmUser=$USER_NAME
AuthType=auth/munge
AuthInfo=socket=$ROOT/munge/socket
StorageType=accounting_storage/mysql
StorageHost=localhost
StorageUser=$USER_NAME
StorageLoc=slurm_acct
PidFile=$ROOT/run/slurmdbd.pid
LogFile=$ROOT/log/slurmdbd.log
CONF
  )
  alive "$ROOT/run/slurmdbd.pid" || MYSQL_UNIX_PORT=$socket start slurmdbd
  # sacctmgr waits for ever for a daemon that is not there yet
  wait_for 30 timeout 5 sacctmgr -n -P list cluster || fail "slurmdbd did not start; see $ROOT/log"
  sacctmgr -n -P list cluster | grep -q '^lop|' || timeout 20 sacctmgr -i -Q add cluster lop >/dev/null
}

nodes_ready() { [ "$(sinfo -h -N -o %T | grep -cE '^(idle|mixed|allocated)$')" -ge "$NODES" ]; }

umask 022
check
mkdir -p "$ROOT"/{etc,run,log,state,spool,munge,dev}
start_munge
write_conf >"$ROOT/etc/slurm.conf"
write_gres >"$ROOT/etc/gres.conf"
export SLURM_CONF=$ROOT/etc/slurm.conf
[ "$ACCT" = none ] || start_accounting
alive "$ROOT/run/slurmctld.pid" || start slurmctld
for i in $(seq 0 $((NODES - 1))); do alive "$ROOT/run/slurmd.gpu$i.pid" || start slurmd -N "gpu$i"; done
wait_for 30 nodes_ready || fail "Slurm did not come up; see $ROOT/log"
echo "export SLURM_CONF=$SLURM_CONF"
