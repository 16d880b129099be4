#!/bin/bash
# Once all three nodes run: put a member of every quorum queue on each. A queue that was declared while fewer ran has fewer.
set -euo pipefail
for node in rabbitmq1 rabbitmq2 rabbitmq3; do
    rabbitmq-queues -q -n rabbit@rabbitmq1 grow "rabbit@$node" all
done
rabbitmq-queues -q -n rabbit@rabbitmq1 rebalance quorum
