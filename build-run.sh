#!/usr/bin/env bash
# The one entry to DistriQueue: sets up what is missing, runs the whole platform on this machine, tests it.
# `./build-run.sh help` lists the commands.
set -euo pipefail

ROOT="$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")" && pwd -P)"
cd -- "$ROOT"
readonly ROOT VENV="$ROOT/.venv" LOCK="$ROOT/requirements-dev.lock"
readonly BENCH_VENV="$ROOT/.venv-bench" BENCH_LOCK="$ROOT/requirements-bench.lock"
readonly PORT="${DISTRIQUEUE_GATEWAY_PORT:-8080}"
GATEWAY="http://127.0.0.1:$PORT" ORCHESTRATOR="http://127.0.0.1:$((PORT + 1))"
READER="$VENV/bin/python" # what reads JSON for the flow
SCRATCH=""
STREAM=""
POLICY_PLACED=""

usage() {
    cat <<'TEXT'
./build-run.sh              set up, start the stack in the background, run jobs through it, leave it running
./build-run.sh down         stop the stack; its data stays in .distriqueue
./build-run.sh test [ARGS]  run all tests; ARGS go to pytest
./build-run.sh soak [ARGS]  the long tests that `test` leaves out
./build-run.sh check        lint, format, types, import rules
./build-run.sh docs         build the documentation site, and check all links
./build-run.sh bench [ARGS] measure it beside its peers; --list says what there is, benchmarks/README.md how to read it
./build-run.sh docker       build the image, start the stack in containers, run jobs through it, leave it running
./build-run.sh docker down  remove it: containers, networks, volumes with all data, the image
./build-run.sh help         this text

DISTRIQUEUE_GATEWAY_PORT=9090 ./build-run.sh   moves everything to other ports
DISTRIQUEUE_HOME=DIR ./build-run.sh            keeps the stack elsewhere than in .distriqueue
TEXT
}

# ------------------------------------------------------------------------------------------------------- saying things

if [ -t 1 ]; then BOLD=$'\e[1m' GREEN=$'\e[32m' RED=$'\e[31m' PLAIN=$'\e[0m'; else BOLD="" GREEN="" RED="" PLAIN=""; fi

step() { printf '%s==> %s%s\n' "$BOLD" "$*" "$PLAIN"; }
good() { printf '    %sok%s %s\n' "$GREEN" "$PLAIN" "$*"; }
fail() { printf '%serror:%s %s\n' "$RED" "$PLAIN" "$*" >&2; exit 1; }

clean_up() {
    [ -z "$STREAM" ] || kill "$STREAM" 2>/dev/null || true
    [ -z "$SCRATCH" ] || rm -rf -- "$SCRATCH"
    [ -z "$POLICY_PLACED" ] || as_root rm -f /usr/sbin/policy-rc.d
}
trap clean_up EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

# --------------------------------------------------------------------------------------------------- what is installed

may_install() { command -v apt-get >/dev/null && { [ "$(id -u)" = 0 ] || sudo -n true 2>/dev/null; }; }
as_root() { if [ "$(id -u)" = 0 ]; then "$@"; else sudo -n "$@"; fi; }

# apt_install WHY PACKAGE…: install system packages, or say precisely what to install.
apt_install() {
    local why="$1"
    shift
    may_install || fail "$why is missing. Install it first, on Debian or Ubuntu: sudo apt-get install $*"
    step "Installing $* ($why)"
    SCRATCH="${SCRATCH:-$(mktemp -d)}"
    { as_root apt-get update -q && as_root env DEBIAN_FRONTEND=noninteractive apt-get install -q -y "$@"; } \
        >"$SCRATCH/apt.log" 2>&1 || { tail -n 20 "$SCRATCH/apt.log" >&2; fail "cannot install $*: see above"; }
}

# find_python: set PYTHON to an interpreter of 3.11 or newer.
find_python() {
    local name
    for name in python3.13 python3.12 python3.11 python3; do
        if command -v "$name" >/dev/null && "$name" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
            PYTHON="$name"
            return 0
        fi
    done
    return 1
}

has_venv() { "$PYTHON" -c 'import ensurepip, venv' 2>/dev/null; }

ensure_python() {
    if ! find_python; then
        apt_install "Python 3.11 or newer" python3 python3-venv
        find_python || fail "this system's python3 is older than 3.11: install Python 3.11 or newer, for example from python.org"
    fi
    if ! has_venv; then
        local version
        version="$("$PYTHON" -c 'import sys; print("python%d.%d" % sys.version_info[:2])')"
        apt_install "the venv module of $PYTHON" "$version-venv"
        has_venv || fail "$PYTHON has no venv module: install the package that brings it"
    fi
}

ensure_curl() { command -v curl >/dev/null || apt_install "curl" curl; }

# fingerprint LOCK: what an environment is made from; it is made anew when one of these changes, or the directory moved.
fingerprint() { printf '%s\n' "$ROOT"; cksum <"$1"; cksum <"$ROOT/pyproject.toml"; }

# ensure_environment [DIRECTORY LOCK]: make a virtual environment with the locked dependencies and this project.
ensure_environment() {
    local venv="${1:-$VENV}" lock="${2:-$LOCK}"
    if [ -x "$venv/bin/python" ] && [ "$(fingerprint "$lock")" = "$(cat "$venv/.made-from" 2>/dev/null)" ] &&
        "$venv/bin/python" -c 'import distriqueue' 2>/dev/null; then
        return
    fi
    ensure_python
    step "Setting up ${venv##*/} with $("$PYTHON" --version) and the locked dependencies (once, about a minute)"
    rm -f "$venv/.made-from"
    if ! { [ -x "$venv/bin/python" ] && "$venv/bin/python" -c "import sys; sys.exit(sys.prefix != '$venv' or sys.version_info < (3, 11))" \
        2>/dev/null && "$venv/bin/python" -m pip --version >/dev/null 2>&1; }; then
        rm -rf -- "$venv"
        "$PYTHON" -m venv "$venv"
        printf '*\n' >"$venv/.gitignore" # as Python 3.13 does: neither git nor ruff looks in
    fi
    {
        "$venv/bin/python" -m pip install --disable-pip-version-check --no-input --require-hashes -r "$lock" &&
            "$venv/bin/python" -m pip install --disable-pip-version-check --no-input --no-deps --no-build-isolation -e "$ROOT"
    } >"$venv/setup.log" 2>&1 || { tail -n 20 "$venv/setup.log" >&2; fail "cannot install the dependencies: see above"; }
    fingerprint "$lock" >"$venv/.made-from"
    good "${venv##*/} is ready"
}

ensure_rabbitmq() {
    PATH="$PATH:/usr/sbin:/opt/homebrew/opt/rabbitmq/sbin:/usr/local/opt/rabbitmq/sbin" command -v rabbitmq-server >/dev/null && return
    install_quietly "RabbitMQ, which the tests start privately" rabbitmq-server
}

# install_quietly WHY PACKAGE…: install, but keep the packages from starting servers: the tests start their own.
install_quietly() {
    if may_install && [ ! -e /usr/sbin/policy-rc.d ]; then
        printf '#!/bin/sh\nexit 101\n' | as_root tee /usr/sbin/policy-rc.d >/dev/null
        as_root chmod 755 /usr/sbin/policy-rc.d
        POLICY_PLACED=yes
    fi
    apt_install "$@"
    if [ -n "$POLICY_PLACED" ]; then
        as_root rm -f /usr/sbin/policy-rc.d
        POLICY_PLACED=""
    fi
}

ensure_chromium() {
    local name
    for name in chromium chromium-browser google-chrome; do
        command -v "$name" >/dev/null && return
    done
    apt_install "Chromium, which the tests drive the dashboard in" chromium
}

ensure_prometheus() {
    command -v promtool >/dev/null && command -v prometheus >/dev/null && return
    install_quietly "Prometheus, which the tests start privately" prometheus
}

distriqueue() { "$VENV/bin/distriqueue" "$@"; }

# ---------------------------------------------------------------------------------------------------- the flow, by curl

# call PATH [CURL OPTION…]: print the body, or fail with the status and the body.
call() {
    local path="$1" status
    shift
    status="$(curl -sS --max-time 15 -o "$SCRATCH/body" -w '%{http_code}' "$@" "$GATEWAY/api$path")" ||
        fail "$GATEWAY/api$path does not answer"
    case "$status" in 2*) cat "$SCRATCH/body" ;; *) fail "$GATEWAY/api$path answered $status: $(cat "$SCRATCH/body")" ;; esac
}

# pick EXPRESSION: read JSON, print what the Python expression over `it` says.
pick() { "$READER" -c 'import json, sys; it = json.load(sys.stdin); print(eval(sys.argv[1]))' "$1"; }

# submit JSON: print the new job's id.
submit() {
    local job
    job="$(call /jobs -X POST -H 'Content-Type: application/json' -d "$1")" && pick 'it["id"]' <<<"$job"
}

# finish NAME ID EXPRESSION EXPECTED: wait until the job has ended, and check its outcome.
finish() {
    local name="$1" id="$2" expression="$3" expected="$4" job status found deadline=$((SECONDS + 30))
    while :; do
        job="$(call "/jobs/$id")"
        status="$(pick 'it["status"]' <<<"$job")"
        case "$status" in completed | failed | timeout | cancelled) break ;; esac
        [ "$SECONDS" -lt "$deadline" ] || fail "$name: job $id is still $status after 30 s; see: distriqueue status"
        sleep 0.1
    done
    [ "$status" = completed ] || fail "$name: job $id ended $status: $(pick 'it["error"]' <<<"$job")"
    found="$(pick "$expression" <<<"$job")"
    [ "$found" = "$expected" ] || fail "$name: job $id gave $found instead of $expected"
    good "$name completed: $found (job $id)"
}

run_flow() {
    local calculate transform validate listed statistics finished deadline=$((SECONDS + 10))
    step "Following $GATEWAY/api/jobs/stream"
    curl -sS -N --max-time 6 "$GATEWAY/api/jobs/stream" >"$SCRATCH/stream" 2>/dev/null &
    STREAM=$!
    until grep -q '^event: connected' "$SCRATCH/stream" 2>/dev/null; do
        [ "$SECONDS" -lt "$deadline" ] || fail "the stream says nothing"
        sleep 0.05
    done
    good "connected"

    step "Submitting jobs at HIGH, MEDIUM and LOW"
    calculate="$(submit '{"type": "calculate", "priority": "HIGH", "payload": {"numbers": [1, 2, 3, 4, 5]}}')"
    transform="$(submit '{"type": "transform", "priority": "MEDIUM", "payload": {"operation": "uppercase", "data": "hello"}}')"
    validate="$(submit '{"type": "validate", "priority": "LOW", "payload": {"type": "email", "value": "ada@example.com"}}')"
    finish "calculate at HIGH" "$calculate" 'it["result"]["result"]' 15
    finish "transform at MEDIUM" "$transform" 'it["result"]["result"]' HELLO
    finish "validate at LOW" "$validate" 'it["result"]["valid"]' True

    step "Asking for the list and the statistics"
    listed="$(call '/jobs?size=3')"
    good "$(pick 'it["totalElements"]' <<<"$listed") jobs in the list"
    statistics="$(call /jobs/statistics)"
    good "$(pick '", ".join(f"{count} {status}" for status, count in it["byStatus"].items())' <<<"$statistics")"

    step "What the stream has told meanwhile"
    wait "$STREAM" || true # curl ends it after its few seconds, and calls that a timeout
    grep -q '^event: job-update' "$SCRATCH/stream" || fail "the stream has told of no job"
    finished="$(grep '^data:' "$SCRATCH/stream" | grep -F "$calculate" | grep -c '"completed"')" || true
    STREAM=""
    [ "$finished" = 1 ] || fail "the stream has told $finished times that job $calculate completed"
    grep -F "$calculate" "$SCRATCH/stream" | sed -n 's/^data: /    /p'
    good "$(grep -c '^event: job-update' "$SCRATCH/stream") updates"
}

# ------------------------------------------------------------------------------------------------------------ commands

start() {
    ensure_curl
    ensure_environment
    SCRATCH="${SCRATCH:-$(mktemp -d)}"
    local state
    state="$(distriqueue status --json | pick 'it["state"]')" || true # it fails for a stack that is not well
    if [ "$state" != stopped ] && [ "$state" != failed ]; then
        step "Stopping the stack that runs, to start it with the code as it is now (its data stays)"
        distriqueue down | sed 's/^/    /'
    fi
    step "Starting the stack"
    distriqueue up --detach --port "$PORT" | sed 's/^/    /' ||
        fail "the stack did not start: see above (on other ports: DISTRIQUEUE_GATEWAY_PORT=9090 ./build-run.sh)"
    run_flow
    step "The stack runs"
    cat <<TEXT
    dashboard     $GATEWAY/
    API           $GATEWAY/api
    API UI        $GATEWAY/api/swagger-ui.html
    live stream   $GATEWAY/api/jobs/stream
    health        $GATEWAY/health/ready
    orchestrator  $ORCHESTRATOR/api/health
    processes     .venv/bin/distriqueue status
    logs          ${DISTRIQUEUE_HOME:-.distriqueue}/logs
    stop          ./build-run.sh down
TEXT
}

down() {
    if [ ! -x "$VENV/bin/distriqueue" ]; then
        echo "nothing is set up here, so nothing runs"
        return
    fi
    distriqueue down
}

run_tests() {
    ensure_environment
    ensure_rabbitmq
    ensure_prometheus
    ensure_chromium
    if [ "$#" -gt 0 ]; then
        "$VENV/bin/python" -m pytest "$@"
        return
    fi
    # Whole stacks one after the other: each of those tests has the machine to itself. The others share it.
    step "Tests without a stack" && "$VENV/bin/python" -m pytest -n auto --dist loadfile --ignore=tests/acceptance
    step "Tests of whole stacks" && "$VENV/bin/python" -m pytest tests/acceptance
}

check() {
    ensure_environment
    step "ruff check" && "$VENV/bin/ruff" check .
    step "ruff format --check" && "$VENV/bin/ruff" format --check .
    step "mypy --strict" && "$VENV/bin/mypy"
    step "lint-imports" && "$VENV/bin/lint-imports"
}

docs() {
    ensure_environment
    step "Checking links and building the documentation" && "$VENV/bin/python" -m distriqueue.manual
}

bench() {
    ensure_environment "$BENCH_VENV" "$BENCH_LOCK"
    ensure_rabbitmq
    "$BENCH_VENV/bin/python" -m benchmarks "$@"
}

find_compose() {
    local without="(./build-run.sh without \`docker\` starts the stack without containers)"
    command -v docker >/dev/null || fail "Docker is not installed: install Docker with its Compose $without"
    docker info >/dev/null 2>&1 || fail "the Docker daemon does not answer: start it, or see that you may use it $without"
    if docker compose version >/dev/null 2>&1; then
        COMPOSE=(docker compose)
    elif command -v docker-compose >/dev/null; then
        COMPOSE=(docker-compose)
    else
        fail "Docker has no Compose: install docker-compose-plugin, or docker-compose 1.29 or newer $without"
    fi
}

# settle SECONDS: wait until every container is healthy or has done what it was for.
settle() {
    local deadline=$((SECONDS + $1)) name state health code waiting
    while :; do
        waiting=""
        while read -r name state health code; do
            case "$state/$health" in
            running/healthy | running/-) ;;
            exited/*) [ "$code" = 0 ] || fail "${name#/} ended with $code; see: ${COMPOSE[*]} logs" ;;
            *) waiting="$waiting ${name#/} is $state, $health;" ;;
            esac
        done < <("${COMPOSE[@]}" ps -a -q | xargs -r docker inspect -f \
            '{{.Name}} {{.State.Status}} {{if .State.Health}}{{.State.Health.Status}}{{else}}-{{end}} {{.State.ExitCode}}')
        [ -n "$waiting" ] || return 0
        [ "$SECONDS" -lt "$deadline" ] || fail "not ready after $1 s:$waiting see: ${COMPOSE[*]} logs"
        sleep 1
    done
}

containers() {
    local number
    ensure_curl
    find_compose
    find_python || ensure_python
    READER="$PYTHON"
    SCRATCH="${SCRATCH:-$(mktemp -d)}"
    if [ -n "${DISTRIQUEUE_GATEWAY_PORT:-}" ]; then
        for number in 1 2 3; do
            export "DISTRIQUEUE_ORCHESTRATOR${number}_PORT=$((PORT + number))"
        done
        export DISTRIQUEUE_GATEWAY2_PORT="$((PORT + 4))"
    fi
    # All that the first stack had, unless someone has chosen.
    [ -n "${COMPOSE_PROFILES+chosen}" ] || grep -qs '^COMPOSE_PROFILES=' .env || export COMPOSE_PROFILES=monitoring
    step "Building the image (the first time takes minutes)"
    "${COMPOSE[@]}" build >"$SCRATCH/build.log" 2>&1 || { tail -n 30 "$SCRATCH/build.log" >&2; fail "the image cannot be built: see above"; }
    good "built by Compose $("${COMPOSE[@]}" version --short 2>/dev/null)"
    step "Starting the containers"
    "${COMPOSE[@]}" up -d --remove-orphans >"$SCRATCH/up.log" 2>&1 || { tail -n 30 "$SCRATCH/up.log" >&2; fail "the containers do not start: see above"; }
    settle 180
    good "every service is healthy"
    GATEWAY="http://$("${COMPOSE[@]}" port api-gateway 8080)"
    ORCHESTRATOR="http://$("${COMPOSE[@]}" port orchestrator1 8081)"
    run_flow
    step "The stack runs. Whoever is logged in on this machine may use it: docs/operations/containers.md"
    cat <<TEXT
    dashboard     $GATEWAY/
    API           $GATEWAY/api
    orchestrator  $ORCHESTRATOR/api/cluster/status
    containers    ${COMPOSE[*]} ps
    logs          ${COMPOSE[*]} logs -f api-gateway
    stop          ${COMPOSE[*]} stop
    remove        ./build-run.sh docker down
TEXT
}

containers_down() {
    local image
    find_compose
    export COMPOSE_PROFILES=ha,monitoring,demo
    image="$("${COMPOSE[@]}" ps -a -q migrate | xargs -r docker inspect -f '{{.Config.Image}}')"
    "${COMPOSE[@]}" down --volumes --remove-orphans
    [ -z "$image" ] || docker image rm "$image" >/dev/null || true
    docker image prune -f --filter label=distriqueue.stage >/dev/null
    good "nothing is left"
}

case "${1:-start}" in
start) start ;;
down) down ;;
test) shift && run_tests "$@" ;;
soak) shift && run_tests -m soak "$@" ;;
check) check ;;
docs) docs ;;
bench) shift && bench "$@" ;;
docker)
    case "${2:-up}" in
    up) containers ;;
    down) containers_down ;;
    *) fail "./build-run.sh docker, or ./build-run.sh docker down" ;;
    esac
    ;;
help | -h | --help) usage ;;
*) usage >&2 && printf '%serror:%s no command %s\n' "$RED" "$PLAIN" "$1" >&2 && exit 2 ;;
esac
