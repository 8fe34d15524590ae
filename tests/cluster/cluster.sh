#!/bin/bash
# A small Slurm cluster on this machine, for tests: a controller and a few nodes, all real daemons
# of the distribution's packages, all on the loopback interface. Debian or Ubuntu, as root.
#
#   cluster.sh install         the packages, if they are missing
#   cluster.sh up [NODES]      start it (2 nodes if not said otherwise)
#   cluster.sh down            stop it and remove what it left
#   cluster.sh node NAME       start the daemon of one node again
#
# The state is in $PHYSML_CLUSTER_STATE (default: /tmp/physml-cluster); `pids` there says what was
# started. Nodes have 2 CPUs, 20 GB and two GPUs each, on paper: nothing holds jobs to CPUs, and
# the GPUs are /dev/zero and /dev/full, so that jobs can ask for what the machine may not have.
set -euo pipefail

STATE=${PHYSML_CLUSTER_STATE:-/tmp/physml-cluster}
CONF=$STATE/slurm.conf
# The job step plugin of Snakemake drops SLURM_CONF: the configuration must lie where Slurm looks.
LINK=/etc/slurm/slurm.conf

die() {
    echo "cluster.sh: $*" >&2
    exit 1
}

install() {
    command -v slurmctld slurmd munged sbatch >/dev/null && return
    [ "$(id -u)" = 0 ] || die "Slurm is not installed, and installing it needs root"
    command -v apt-get >/dev/null || die "Slurm is not installed, and this is not Debian or Ubuntu"
    echo "Installing slurm-wlm and munge ..."
    # Services of the packages are not started: the tests bring up their own.
    local policy=/usr/sbin/policy-rc.d made=""
    [ -e $policy ] || {
        printf '#!/bin/sh\nexit 101\n' >$policy
        chmod +x $policy
        made=yes
    }
    apt-get update -qq
    DEBIAN_FRONTEND=noninteractive apt-get install -yqq --no-install-recommends slurm-wlm munge \
        >/dev/null
    [ -z "$made" ] || rm $policy
}

# Start a daemon in the background and note its process: daemon NAME PROGRAM [ARGUMENT...]
daemon() {
    local name=$1
    shift
    setsid "$@" >"$STATE/log/$name.out" 2>&1 </dev/null &
    echo "$name $!" >>"$STATE/pids"
}

# Wait until a command succeeds: await WHAT SECONDS COMMAND...
await() {
    local what=$1 end=$((SECONDS + $2))
    shift 2
    until "$@" >/dev/null 2>&1; do
        if [ $SECONDS -ge $end ]; then
            tail -n 5 "$STATE"/log/* >&2
            die "$what did not come up"
        fi
        sleep 0.2
    done
}

all_idle() { [ "$(sinfo -h -N -p main -o %T | grep -c '^idle$')" = "$1" ]; }

configure() {
    local nodes=$1 host
    host=$(hostname -s)
    cat >"$CONF" <<END
ClusterName=physml
SlurmctldHost=$host(127.0.0.1)
SlurmctldPort=26817
CommunicationParameters=NoInAddrAny,NoCtldInAddrAny
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
CredType=cred/munge
AuthInfo=socket=$STATE/munge/socket,cred_expire=60
StateSaveLocation=$STATE/controller
SlurmdSpoolDir=$STATE/spool/%n
SlurmctldPidFile=$STATE/slurmctld.pid
SlurmdPidFile=$STATE/%n.pid
SlurmctldLogFile=$STATE/log/slurmctld.log
SlurmdLogFile=$STATE/log/%n.log
# Neither cgroups nor a database: what needs no right but root's. Memory is watched, every second.
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/linux
JobAcctGatherFrequency=1
JobAcctGatherParams=OverMemoryKill
AccountingStorageType=accounting_storage/none
MpiDefault=none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU_Memory
# Tests do not want to wait: for the scheduler, for jobs told to end, for nodes that are gone, for
# requeued jobs (they begin again when the old credential has expired).
SchedulerParameters=batch_sched_delay=0,bf_interval=2,sched_interval=5
KillWait=10
SlurmdTimeout=20
ReturnToService=2
JobRequeue=1
MinJobAge=600
RebootProgram=/bin/true
MailProg=/bin/true
# More than the machine may have.
SlurmdParameters=config_overrides
GresTypes=gpu
NodeName=n[1-$nodes] NodeHostname=$host NodeAddr=127.0.0.1 Port=[27001-$((27000 + nodes))] CPUs=2 RealMemory=20000 Gres=gpu:a100:2 State=UNKNOWN
PartitionName=main Nodes=ALL Default=YES DefaultTime=10 MaxTime=600 State=UP
PartitionName=gpu Nodes=ALL MaxTime=600 State=UP
END
    printf 'NodeName=n[1-%d] Name=gpu Type=a100 File=/dev/%s\n' "$nodes" zero "$nodes" full \
        >"$STATE/gres.conf"
    # From 23.11 on the default is to require cgroups.
    [[ "$(slurmd -V)" < "slurm-wlm 23.11" ]] || echo CgroupPlugin=disabled >"$STATE/cgroup.conf"
}

up() {
    local nodes=${1:-2} name
    [ "$(id -u)" = 0 ] || die "starting a cluster needs root"
    for name in slurmctld slurmd munged sbatch; do
        command -v $name >/dev/null || die "$name is not installed; try: $0 install"
    done
    [ ! -e "$STATE/pids" ] || die "$STATE is in use; stop that cluster with: $0 down"
    # A link that leads nowhere is left over from a cluster that is gone.
    [ ! -e $LINK ] || [ "$(readlink $LINK)" = "$CONF" ] || die "$LINK is that of another cluster; remove it if that one is gone"
    rm -rf "$STATE"
    mkdir -p "$STATE"/{log,controller,munge,spool} /etc/slurm
    : >"$STATE/pids"
    trap 'down >/dev/null' EXIT

    (umask 077 && head -c 1024 /dev/urandom >"$STATE/munge/key")
    chown -R munge: "$STATE/munge"
    daemon munged setpriv --reuid munge --regid munge --clear-groups munged --foreground \
        --key-file="$STATE/munge/key" --socket="$STATE/munge/socket" \
        --pid-file="$STATE/munge/pid" --log-file="$STATE/munge/log" --seed-file="$STATE/munge/seed"
    await munged 20 munge -n -S "$STATE/munge/socket"

    configure "$nodes"
    ln -sfn "$CONF" $LINK
    export SLURM_CONF=$CONF
    daemon slurmctld slurmctld -D -c
    await slurmctld 60 sinfo
    for name in $(seq -f 'n%g' "$nodes"); do
        node "$name"
    done
    await "the nodes" 30 all_idle "$nodes"
    trap - EXIT
}

node() {
    mkdir -p "$STATE/spool/$1"
    SLURM_CONF=$CONF daemon "$1" slurmd -D -N "$1"
}

# End a process, but only if it is still one of this cluster.
finish() {
    local pid=$1
    grep -qsE 'munged|slurm' "/proc/$pid/comm" || return 0
    kill "$pid" 2>/dev/null || return 0
    for _ in $(seq 50); do
        [ -e "/proc/$pid" ] || return 0
        sleep 0.1
    done
    kill -9 "$pid" 2>/dev/null || true
}

down() {
    local pid name
    [ -e "$STATE/pids" ] || {
        echo "no cluster at $STATE"
        return
    }
    export SLURM_CONF=$CONF
    if timeout 5 scontrol ping 2>/dev/null | grep -q UP; then
        timeout 10 scancel --quiet --user=root 2>/dev/null || true
        for _ in $(seq 60); do
            [ -n "$(timeout 5 squeue -h 2>/dev/null)" ] || break
            sleep 0.2
        done
    fi
    while read -r name pid; do finish "$pid"; done < <(tac "$STATE/pids")
    # Job steps outlive the daemon of their node; those of this cluster carry its configuration.
    for pid in $(pgrep -x slurmstepd); do
        if tr '\0' '\n' <"/proc/$pid/environ" 2>/dev/null | grep -qxF "SLURM_CONF=$CONF"; then
            kill -9 "$pid"
        fi
    done
    [ "$(readlink $LINK)" != "$CONF" ] || rm $LINK
    rm -rf "$STATE"
}

case "${1:-}" in
install) install ;;
up) up "${2:-2}" ;;
down) down ;;
node) node "${2:?which node?}" ;;
*)
    sed -n '2,/^set/s/^# \{0,1\}//p' "$0" >&2
    exit 2
    ;;
esac
