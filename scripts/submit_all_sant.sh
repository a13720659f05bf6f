#!/usr/bin/env bash
# Sends every variant on SlipperyAnt to the cluster: std, ns, l2, cbp and redo, 30 seeds each.
#
#   scripts/submit_all_sant.sh [setting=value ...]     further settings of lop.submit and lop.train
#
#   DRY_RUN=1      print what would be sent: jobs, resources, hours, disk; send nothing
#   SEEDS=0-29     which seeds
#   PROFILE=gpu    a profile of cfg/cluster/, or the path of a .yaml file of yours
#   PYTHON=...     the Python that has lop; .venv/bin/python if that is there
#
# Runs that are finished, at work or queued are left out: call it again at any time.
set -euo pipefail
case "${1:-}" in -h | --help) sed -n '2,/^set/s/^# \{0,1\}//p' "$0" | sed '$d'; exit 0 ;; esac
here=$(cd "$(dirname "$0")/.." && pwd)
python=${PYTHON:-python3}
[ -n "${PYTHON:-}" ] || [ ! -x "$here/.venv/bin/python" ] || python=$here/.venv/bin/python
exec "$python" -m lop.submit env=sant algo=std,ns,l2,cbp,redo "seeds=${SEEDS:-0-29}" "cluster=${PROFILE:-gpu}" \
  "dry_run=${DRY_RUN:-0}" "$@"
