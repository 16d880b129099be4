#!/usr/bin/env bash
# A DistriQueue worker in bash: psql for the queue, curl for everything else. It does what docs/wire-protocol.md asks for.
#
#   DISTRIQUEUE_BROKER_URL=postgresql://user:password@host:port/name ./worker.sh
#
# It runs one job at a time; start it as often as there are cores. A handler is a program in handlers/, named like its job
# type: the payload is its standard input, the result its standard output (JSON), exit status 0 says that it completed,
# 65 (EX_DATAERR) that trying again is of no use; the end of its standard error is the error's message. "40 some words"
# on descriptor 3 is progress, in percent. $JOB_ID, $JOB_ATTEMPT and $JOB_GRANTED, a file with the answer to the claim
# (parents, checkpoint), are for those who want them.
#
# Settings: DISTRIQUEUE_BROKER_URL, _GATEWAY_URL and _ORCHESTRATOR_URLS (several separated by commas), _API_KEY,
# _WORKER_ID, as other workers read them; PSQL: the program, if it is not on the search path.
set -euo pipefail

HERE="$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")" && pwd -P)"
readonly HERE PSQL="${PSQL:-psql}" LANES="{0,1,2,3}"
readonly LEASE_S=6 IDLE_S=1 BEAT_S=1 REPORT_TIMEOUT_S=15 BEAT_TIMEOUT_S=1 MAX_ERROR_BYTES=2000
IFS=, read -ra GATEWAYS <<<"${DISTRIQUEUE_GATEWAY_URL:-http://127.0.0.1:8080}"
IFS=, read -ra ORCHESTRATORS <<<"${DISTRIQUEUE_ORCHESTRATOR_URLS:-http://127.0.0.1:8081}"
# New at every start, see "Worker ids" in the protocol.
WORKER_ID="${DISTRIQUEUE_WORKER_ID:-$(hostname)-$$}.$(head -c 3 /dev/urandom | od -An -tx1 | tr -d ' \n')"
readonly WORKER_ID
CONSUMER=0         # our row in broker.consumers
STOPPING=""        # told to end
INTERRUPTED=""     # a signal came while we waited
declare -A RECENT=() # attempts that are decided: a second delivery of one is dropped

say() { printf '%(%H:%M:%S)T %s %s\n' -1 "$WORKER_ID" "$*" >&2; }

# ------------------------------------------------------------------------------------------------------------ the queue

# connect_by URL: tell psql where the broker is by its environment, for others can read command lines.
connect_by() {
    local url=$1
    [[ $url =~ ^postgres(ql)?://([^:@/]*)(:([^@/]*))?@([^:/?]*)(:([0-9]+))?/([^?]*) ]] ||
        { say "DISTRIQUEUE_BROKER_URL is no postgresql://user:password@host:port/name"; exit 2; }
    local user=${BASH_REMATCH[2]} password=${BASH_REMATCH[4]} name=${BASH_REMATCH[8]}
    export PGHOST=${BASH_REMATCH[5]} PGPORT=${BASH_REMATCH[7]:-5432} PGCONNECT_TIMEOUT=5
    PGUSER=$(printf '%b' "${user//%/\\x}") PGPASSWORD=$(printf '%b' "${password//%/\\x}")
    PGDATABASE=$(printf '%b' "${name//%/\\x}")
    export PGUSER PGPASSWORD PGDATABASE
    # As every consumer: a dispatch need not be on disk, and a queue is never to be read from end to end.
    export PGOPTIONS="-c synchronous_commit=off -c enable_seqscan=off -c statement_timeout=5s" PGAPPNAME="distriqueue-broker:$WORKER_ID"
}

# sql [VARIABLE=VALUE…]: run the statements of the standard input; fields are separated by tabs.
sql() {
    local set=() each
    for each; do set+=(-v "$each"); done
    "$PSQL" -XqAt -F $'\t' -v ON_ERROR_STOP=1 "${set[@]}"
}

# take: end the leases that ran out, renew ours or begin anew, and take the most urgent message. Prints our number, and
# the message's if there is one.
take() {
    sql me="$CONSUMER" name="$WORKER_ID" lanes="$LANES" paused="$(cat "$WORK/paused" 2>/dev/null || echo '{}')" lease="$LEASE_S" <<'SQL'
BEGIN;
WITH gone AS (DELETE FROM broker.consumers WHERE lease_until < now() RETURNING id)
SELECT count(*) > 0 AS some FROM gone \gset
\if :some
UPDATE broker.dispatches AS d SET holder = NULL
 WHERE holder IS NOT NULL AND NOT EXISTS (SELECT FROM broker.consumers AS c WHERE c.id = d.holder);
SELECT '' FROM pg_notify('distriqueue_dispatches', '0,1,2,3') \g /dev/null
\endif
COMMIT;
WITH renewed AS (
    UPDATE broker.consumers SET lease_until = now() + make_interval(secs => :lease) WHERE id = :me RETURNING id
), begun AS (
    INSERT INTO broker.consumers (name, lanes, lease_until)
    SELECT :'name', :'lanes', now() + make_interval(secs => :lease) WHERE NOT EXISTS (SELECT FROM renewed) RETURNING id
)
SELECT id AS me FROM renewed UNION ALL SELECT id FROM begun \gset
WITH mine AS (
    SELECT id FROM broker.consumers WHERE id = :me FOR KEY SHARE
), picked AS (
    SELECT oldest.lane, oldest.id
      FROM mine
     CROSS JOIN unnest(:'lanes'::smallint[]) AS wanted (lane)
     CROSS JOIN LATERAL (
           SELECT d.lane, d.id FROM broker.dispatches AS d
            WHERE d.lane = wanted.lane AND d.holder IS NULL AND wanted.lane <> ALL (:'paused'::smallint[])
            ORDER BY d.id LIMIT 1 FOR UPDATE SKIP LOCKED) AS oldest
     ORDER BY oldest.lane LIMIT 1
), taken AS (
    UPDATE broker.dispatches SET holder = :me WHERE id = ANY (ARRAY (SELECT id FROM picked)) RETURNING id
)
SELECT :me, (SELECT id FROM taken);
SQL
}

# dispatches MESSAGE: print a line for each job of the message: id, attempt, type, timeout, payload.
dispatches() {
    sql me="$CONSUMER" message="$1" <<'SQL'
SELECT d ->> 'jobId', d ->> 'attempt', d ->> 'type', d ->> 'executionTimeout', CAST(d -> 'payload' AS text)
  FROM broker.dispatches AS m
 CROSS JOIN string_to_table(convert_from(m.body, 'UTF8'), E'\n') WITH ORDINALITY AS line (body, n)
 CROSS JOIN CAST(line.body AS json) AS d
 WHERE m.id = :message AND m.holder = :me
   -- What is no dispatch of version 1 divides by zero: it shall not look like a message without jobs.
   AND 1 / coalesce(d ->> 'v' = '1' AND json_typeof(d -> 'payload') = 'object' AND CAST(d ->> 'jobId' AS uuid) IS NOT NULL
       AND (d ->> 'attempt')::int > 0 AND d ->> 'type' <> '' AND (d ->> 'executionTimeout')::float > 0, false)::int = 1
 ORDER BY n;
SQL
}

ack() { sql me="$CONSUMER" message="$1" <<<"DELETE FROM broker.dispatches WHERE id = :message AND holder = :me;"; }

give_back() {
    sql me="$CONSUMER" message="$1" >/dev/null <<'SQL'
UPDATE broker.dispatches SET holder = NULL WHERE id = :message AND holder = :me;
SELECT pg_notify('distriqueue_dispatches', '0,1,2,3');
SQL
}

bury() {
    sql me="$CONSUMER" message="$1" <<'SQL'
WITH gone AS (DELETE FROM broker.dispatches WHERE id = :message AND holder = :me RETURNING lane, body)
INSERT INTO broker.dead (lane, body, reason) SELECT lane, body, 'not read by a worker in shell' FROM gone;
SQL
}

leave() {
    sql me="$CONSUMER" <<'SQL'
BEGIN;
DELETE FROM broker.consumers WHERE id = :me;
UPDATE broker.dispatches SET holder = NULL WHERE holder = :me;
COMMIT;
SQL
}

# ----------------------------------------------------------------------------------------------------------------- HTTP

# post URL TIMEOUT: send the standard input; prints the answer's body and, on a line of its own, its status.
post() {
    curl --silent --noproxy '*' --connect-timeout 2 --max-time "$2" --request POST --header "@$WORK/headers" \
        --data-binary @- --write-out '\n%{http_code}' "$1"
}

# report JSON-FILE: send a report until a gateway answers it. Sets ANSWER (accepted, refused, stale) and REPLY, its body.
# Fails when no gateway will ever take it. A repeated report gets its first answer again, so a lost answer does no harm.
report() {
    local url out pause=1
    while :; do
        for url in "${GATEWAYS[@]}"; do
            out=$(post "${url%/}/api/jobs/status" "$REPORT_TIMEOUT_S" <"$1") || { say "no answer of $url"; continue; }
            REPLY=${out%$'\n'*}
            case ${out##*$'\n'} in
            200)
                # The first one: what parents have answered stands behind it.
                [[ $REPLY =~ \"answer\":\"([a-z]+)\" ]] && ANSWER=${BASH_REMATCH[1]} && return
                ;;
            401 | 403 | 404 | 405 | 408 | 421 | 425 | 429 | 5??) say "$url answers ${out##*$'\n'}: $REPLY" ;;
            *)
                say "$url will not take a report: $REPLY"
                return 1
                ;;
            esac
        done
        sleep "$pause" & wait $! || :
        pause=$((pause < 5 ? pause + 1 : 5))
    done
}

# quote: write the standard input as a JSON string.
quote() {
    local text
    text=$(iconv -f utf-8 -t utf-8 -c | tr -d '\000-\010\013\014\016-\037')
    text=${text//\\/\\\\} text=${text//\"/\\\"} text=${text//$'\n'/\\n} text=${text//$'\t'/\\t} text=${text//$'\r'/\\r}
    printf '"%s"' "$text"
}

# saying JOB ATTEMPT STATUS [MORE]: print a report; MORE begins with a comma.
saying() {
    printf '{"jobId":"%s","attempt":%s,"status":"%s","workerId":"%s"%s}' "$1" "$2" "$3" "$WORKER_ID" "${4:-}"
}

# ----------------------------------------------------------------------------------------------------------- heartbeats

# heart: beat every second until the standard input ends, which it does when the worker is gone, however it went; then
# what runs of it is ended too. Who does not beat for 5 s loses its jobs to others.
heart() {
    local status
    trap '' TERM INT
    while :; do
        beat
        status=0
        read -r -t "$BEAT_S" || status=$?
        ((status > 128)) || break
    done
    [ ! -s "$WORK/running" ] || kill -KILL -- "-$(cut -d' ' -f2 "$WORK/running")" 2>/dev/null || :
    [ -e "$WORK/ended" ] || rm -rf -- "$WORK"
}

# beat [MORE]: tell one orchestrator that we live, and do what it wants.
beat() {
    local url out load=0
    [ ! -s "$WORK/running" ] || load=1
    for url in "${ORCHESTRATORS[@]}"; do
        out=$(printf '{"workerId":"%s","workerType":"shell","capacity":1,"currentLoad":%s,"types":[%s]%s}' \
            "$WORKER_ID" "$load" "$TYPES" "${1:-}" | post "${url%/}/api/workers/heartbeat" "$BEAT_TIMEOUT_S") || continue
        [ "${out##*$'\n'}" = 200 ] || continue
        obey "${out%$'\n'*}"
        return
    done
    say "no orchestrator hears us"
}

# obey ANSWER: cancel what runs, drain, leave paused lanes alone.
obey() {
    local job="" group="" lanes=""
    [ ! -s "$WORK/running" ] || read -r job group <"$WORK/running"
    if [ -n "$job" ] && [[ $1 =~ \"cancel\":\[[^]]*\"$job\" ]]; then
        : >"$WORK/cancelled"
        kill -TERM -- "-$group" 2>/dev/null || :
    fi
    [[ $1 != *'"drain":true'* ]] || : >"$WORK/drain"
    if [[ $1 =~ \"paused\":\[([^]]*)\] ]]; then
        lanes=${BASH_REMATCH[1]//\"/}
        lanes=${lanes//CRITICAL/0} lanes=${lanes//HIGH/1} lanes=${lanes//MEDIUM/2} lanes=${lanes//LOW/3}
    fi
    printf '{%s}' "$lanes" >"$WORK/paused.new" && mv "$WORK/paused.new" "$WORK/paused"
}

# ----------------------------------------------------------------------------------------------------------------- jobs

# run JOB ATTEMPT TYPE TIMEOUT: run an accepted attempt, with the payload in $WORK/payload, and report its end.
run() {
    local job=$1 attempt=$2 type=$3 timeout=$4 status=0 handler
    handler="$HERE/handlers/$type"
    if ! [[ $type =~ ^[A-Za-z0-9_-]+$ && -x $handler ]]; then
        end "$job" "$attempt" failed ",\"errorType\":\"unknown_job_type\",\"errorMessage\":$(
            quote <<<"no handler for type $type; this worker handles: $TYPES"),\"retryable\":false"
        return
    fi
    rm -f "$WORK/cancelled"
    # In a process group of its own, which `timeout` makes.
    JOB_ID=$job JOB_ATTEMPT=$attempt JOB_GRANTED=$WORK/granted timeout --kill-after=1 "$timeout" "$handler" \
        <"$WORK/payload" >"$WORK/result" 2>"$WORK/error" 3> >(relay "$job" "$attempt") &
    local group=$!
    printf '%s %s\n' "$job" "$group" >"$WORK/running.new" && mv "$WORK/running.new" "$WORK/running"
    RUNNING=$group
    [ -z "$STOPPING" ] || kill -TERM -- "-$group" 2>/dev/null || : # the signal came just before
    while :; do
        INTERRUPTED=""
        wait "$group" && status=0 || status=$?
        [ -n "$INTERRUPTED" ] && kill -0 "$group" 2>/dev/null || break
    done
    RUNNING=""
    rm -f "$WORK/running"
    case $status in
    0) end "$job" "$attempt" completed ",\"result\":$(cat "$WORK/result")" ;;
    *)
        if [ -e "$WORK/cancelled" ]; then
            end "$job" "$attempt" cancelled
        elif [ -n "$STOPPING" ]; then
            end "$job" "$attempt" released # runs elsewhere, and is not charged as a try
        elif ((status == 124 || status == 137)); then
            end "$job" "$attempt" timeout ",\"errorType\":\"timeout\",\"errorMessage\":\"no end within $timeout s\""
        else
            end "$job" "$attempt" failed ",\"errorType\":\"exit_$status\",\"errorMessage\":$(
                tail -c "$MAX_ERROR_BYTES" "$WORK/error" | quote),\"retryable\":$( ((status == 65)) && echo false || echo true)"
        fi
        ;;
    esac
}

# relay JOB ATTEMPT: report what a handler says of its progress. Nobody waits for it, and it may get lost.
relay() {
    local percent words
    exec >/dev/null
    trap '' TERM INT
    while read -r percent words; do
        saying "$1" "$2" running ",\"progress\":$percent,\"progressMessage\":$(quote <<<"${words:0:500}")" |
            post "${GATEWAYS[0]%/}/api/jobs/status" "$REPORT_TIMEOUT_S" || :
    done
}

# end JOB ATTEMPT STATUS [MORE]: report how an attempt ended, until it is answered.
end() {
    saying "$@" >"$WORK/report"
    if ! report "$WORK/report"; then
        saying "$1" "$2" failed ',"errorType":"report_rejected","errorMessage":"the gateway rejects the end of the attempt","retryable":false' \
            >"$WORK/report"
        report "$WORK/report" || ANSWER=rejected
    fi
    say "job $1, attempt $2: $3, $ANSWER"
}

# decide MESSAGE: claim its jobs in turn; run the first that is ours, and leave those behind it to others.
decide() {
    local message=$1 job attempt type timeout payload left status=0
    dispatches "$message" >"$WORK/dispatches" || status=$?
    if ((status == 3)); then # psql could not read it, or rather Postgres
        say "a message that cannot be read"
        bury "$message"
        return
    elif ((status)); then
        return
    fi
    left=$(wc -l <"$WORK/dispatches")
    while IFS=$'\t' read -r job attempt type timeout payload <&4; do
        left=$((left - 1))
        [ -z "${RECENT[$job/$attempt]:-}" ] || continue # delivered twice
        saying "$job" "$attempt" running >"$WORK/report"
        report "$WORK/report" || continue
        if [ "$ANSWER" != accepted ]; then
            # For good; after other reasons the same attempt may be sent again.
            [[ ! $REPLY =~ \"reason\":\"(running_elsewhere|finished|cancelled|stale_attempt)\" ]] || remember "$job/$attempt"
            continue
        fi
        remember "$job/$attempt"
        # It is ours, whatever becomes of the message: a second claim of it is refused.
        if ((left)); then give_back "$message" || :; else ack "$message" || :; fi
        printf '%s' "$REPLY" >"$WORK/granted"
        printf '%s' "$payload" >"$WORK/payload"
        run "$job" "$attempt" "$type" "$timeout"
        return
    done 4<"$WORK/dispatches"
    ack "$message" || :
}

remember() {
    ((${#RECENT[@]} < 1000)) || RECENT=()
    RECENT[$1]=1
}

stop() {
    STOPPING=1 INTERRUPTED=1
    [ -z "$RUNNING" ] || kill -TERM -- "-$RUNNING" 2>/dev/null || :
}

# ------------------------------------------------------------------------------------------------------------- the life

RUNNING=""
TYPES=$(cd "$HERE/handlers" && printf ',"%s"' *) TYPES=${TYPES#,}
readonly TYPES
connect_by "${DISTRIQUEUE_BROKER_URL:?is needed: postgresql://…}"
WORK="$(mktemp -d)" # private to this user: it has the API key, payloads and results
readonly WORK
{
    echo "Content-Type: application/json"
    [ -z "${DISTRIQUEUE_API_KEY:-}" ] || echo "Authorization: Bearer $DISTRIQUEUE_API_KEY"
} >"$WORK/headers"
unset DISTRIQUEUE_API_KEY DISTRIQUEUE_BROKER_URL
trap stop TERM INT
beat
coproc HEART { heart >/dev/null; }
HEARTBEATS=$HEART_PID
say "worker started, takes $TYPES"
while [ -z "$STOPPING" ] && [ ! -e "$WORK/drain" ]; do
    found=$(take) || { say "no broker"; found=""; }
    IFS=$'\t' read -r CONSUMER message <<<"${found:-0	}"
    if [ -n "$message" ]; then
        decide "$message"
    else
        sleep "$IDLE_S" & wait $! || :
    fi
done
: >"$WORK/ended"
exec {HEART[1]}>&-
wait "$HEARTBEATS" || :
leave || :
beat ',"stopping":true,"stopped":true'
rm -rf -- "$WORK"
say "worker stopped"
